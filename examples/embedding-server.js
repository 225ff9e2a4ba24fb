/**
 * Embeddings over HTTP: POST a JSON list of texts, get a list of vectors. Requests that wait at the same time are encoded
 * together, in one batch. `node embedding-server.js 8080 FOLDER` serves a model; without a folder a tiny random one.
 * `dawntune serve` does more: limits, keys, the forms that other clients know.
 */
import http from 'node:http';
import { fileURLToPath } from 'node:url';
import { EmbeddingBatcher, Gpu, M3Model, Tokenizer } from 'dawntune';

/** Starts a server on `port`; 0: any that is free. @returns the server, once it listens. */
export async function serve(port, folder) {
  const gpu = await Gpu.open();
  const demo = fileURLToPath(new URL('../../assets/demo-tokenizer', import.meta.resolve('dawntune')));
  const tokenizer = Tokenizer.load(folder ?? demo);
  const sizes = { hidden_size: 32, num_hidden_layers: 2, num_attention_heads: 4, intermediate_size: 64 };
  const limits = { max_position_embeddings: 130, vocab_size: tokenizer.vocabSize, type_vocab_size: 1 };
  const kind = { model_type: 'xlm-roberta', pad_token_id: 1, layer_norm_eps: 1e-5 };
  const model = folder ? M3Model.load(gpu, folder) : M3Model.random(gpu, { ...kind, ...sizes, ...limits });

  let largest = 0;
  const onBatch = ({ requests }) => {
    largest = Math.max(largest, requests);
  };
  const batcher = new EmbeddingBatcher(model, tokenizer, { onBatch });
  const embed = async (texts) => {
    const embeddings = await batcher.encode(texts);
    return { batch: largest, vectors: embeddings.map(({ dense }) => [...dense]) };
  };

  const server = http.createServer(async (request, response) => {
    const answer = (status, body) => {
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(body));
    };
    try {
      let body = '';
      for await (const chunk of request.setEncoding('utf8')) body += chunk;
      const texts = JSON.parse(body);
      if (!Array.isArray(texts) || !texts.every((text) => typeof text === 'string'))
        return answer(400, { error: 'expected a JSON list of texts' });
      answer(200, await embed(texts));
    } catch (error) {
      answer(error instanceof SyntaxError ? 400 : 500, { error: error.message });
    }
  });
  server.on('close', () => batcher.close().then(() => gpu.close()));
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const server = await serve(Number(process.argv[2] ?? 8080), process.argv[3]);
  console.log(`listening on port ${server.address().port}`);
}
