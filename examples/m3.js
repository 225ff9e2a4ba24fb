/**
 * BGE-M3 from code: a model trains on questions and passages, scores by its three heads and is saved.
 * `node examples/m3.js [STEPS [MODEL [OUTPUT]]]`, of which MODEL and OUTPUT are folders.
 */
import { fileURLToPath } from 'node:url';
import { collate, encodeTexts, forwardBackward, Gpu, hybridScores, M3Model, Tokenizer } from 'dawntune';
import { AdamW, clipGradNorm } from 'dawntune/optim';

const steps = Number(process.argv[2] ?? 20);
const [folder, output] = process.argv.slice(3);
const gpu = await Gpu.open();
// Without a folder: a tiny model of random weights, with the tokenizer of the demo, which the package has.
const demo = fileURLToPath(new URL('../../assets/demo-tokenizer', import.meta.resolve('dawntune')));
const tokenizer = Tokenizer.load(folder || demo);
const sizes = { model_type: 'xlm-roberta', hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 64 };
const limits = { max_position_embeddings: 130, vocab_size: tokenizer.vocabSize, type_vocab_size: 1, pad_token_id: 1, layer_norm_eps: 1e-5 };
const model = folder ? M3Model.load(gpu, folder) : M3Model.random(gpu, { ...sizes, ...limits });

const queries = ['Which river flows through Paris?', 'Who wrote Faust?'];
// As many for each query as for the others: its positive first, then its negatives.
const passages = ['Paris lies on the Seine.', 'The Spree flows through Berlin.', 'Goethe wrote Faust.', 'Kafka wrote The Trial.'];
const optimizer = new AdamW(model.parameters(), { learningRate: folder ? 1e-5 : 1e-3, weightDecay: 0 });
for (let step = 1; step <= steps; step++) {
  const batch = collate(gpu, tokenizer, model.config, queries, passages, { queryMaxLen: 64, passageMaxLen: 128 });
  optimizer.zeroGrad();
  const loss = await forwardBackward(model, batch, { unified: true });
  batch.tokens.dispose();
  clipGradNorm(model.parameters(), 1);
  optimizer.step();
  if (step % 5 === 0 || step === steps) console.log(`step ${step} loss ${loss.toFixed(5)}`);
}

const [question, ...texts] = await encodeTexts(model, tokenizer, [queries[0], ...passages]);
for (const [i, text] of texts.entries()) {
  const { dense, sparse, colbert } = hybridScores(question, text);
  console.log(passages[i], { dense, sparse, colbert });
}
if (output) await model.save(output, tokenizer);
await gpu.close();
