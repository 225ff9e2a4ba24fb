/**
 * FlagEmbedding's `BGEM3FlagModel` and sentence-transformers on the processor, as a program for the Python that `--python`
 * names; its one word says which. Both get the texts as a list, in f32.
 */
import { REPLY, REST } from '../peers/protocol.js';

export const pythonProgram = `
import json, resource, sys, time
import numpy as np
import torch

class Flag:
    def __init__(self, request):
        import FlagEmbedding
        from importlib.metadata import version
        self.version = version('FlagEmbedding')
        self.model = FlagEmbedding.BGEM3FlagModel(request['model'], use_fp16=False, devices='cpu')
        self.texts, self.most, self.batch = request['texts'], request['maxLength'], request['peerBatchSize']
    def encode(self, all):
        return self.model.encode(self.texts, batch_size=self.batch, max_length=self.most, return_dense=True, return_sparse=all, return_colbert_vecs=all)
    def numbers(self, found, i, all):
        result = {'dense': found['dense_vecs'][i].tolist()}
        if all:
            result['lexical'] = {name: float(weight) for name, weight in found['lexical_weights'][i].items()}
            result['colbert'] = found['colbert_vecs'][i].flatten().tolist()
        return result

class Sentence:
    def __init__(self, request):
        import sentence_transformers
        from sentence_transformers import SentenceTransformer, models
        self.version = sentence_transformers.__version__
        encoder = models.Transformer(request['model'], max_seq_length=request['maxLength'])
        pooling = models.Pooling(encoder.get_word_embedding_dimension(), 'cls')
        self.model = SentenceTransformer(modules=[encoder, pooling, models.Normalize()], device='cpu')
        self.texts, self.batch = request['texts'], request['peerBatchSize']
    def encode(self, all):
        if all:
            raise ValueError('it has dense vectors alone')
        return self.model.encode(self.texts, batch_size=self.batch, show_progress_bar=False)
    def numbers(self, found, i, all):
        return {'dense': found[i].tolist()}

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

def rest():
    latest = time.perf_counter() + ${REST.most}
    while True:
        start, used = time.perf_counter(), cpu()
        time.sleep(${REST.seconds})
        now = time.perf_counter()
        if cpu() - used < ${REST.share} * (now - start) or now > latest:
            return

library = None
for line in sys.stdin:
    request = json.loads(line)
    reply = {}
    try:
        if request['do'] == 'open':
            library = {'FlagEmbedding': Flag, 'sentence-transformers': Sentence}[sys.argv[1]](request)
            reply = {'version': library.version, 'on': f'PyTorch {torch.__version__}, {torch.get_num_threads()} threads'}
        elif request['do'] == 'check':
            found = library.encode(request['all'])
            reply = {'numbers': [library.numbers(found, i, request['all']) for i in request['probes']]}
        elif request['do'] == 'run':
            start, used = time.perf_counter(), cpu()
            library.encode(request['all'])
            reply = {'seconds': time.perf_counter() - start, 'cpuSeconds': cpu() - used}
        elif request['do'] == 'rest':
            rest()
    except Exception as error:
        reply = {'error': str(error) or type(error).__name__}
    print('${REPLY}' + json.dumps(reply), flush=True)
`;
