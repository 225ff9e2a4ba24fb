/**
 * `config.json` of BAAI/bge-m3, as far as it says what the model is (docs/spec/flagembedding-m3.md §9): for what is to be
 * known of the model before it was downloaded.
 */
export const bgeM3 = {
  model_type: 'xlm-roberta',
  hidden_size: 1024,
  num_hidden_layers: 24,
  num_attention_heads: 16,
  intermediate_size: 4096,
  vocab_size: 250002,
  max_position_embeddings: 8194,
  type_vocab_size: 1,
  layer_norm_eps: 1e-5,
  hidden_act: 'gelu',
  hidden_dropout_prob: 0.1,
  attention_probs_dropout_prob: 0.1,
  pad_token_id: 1,
} as const;
