/** The flat index of faiss, as a program for the Python that `--python` names; it speaks as the peers do. */
import { REPLY } from '../peers/protocol.js';

export const faissProgram = `
import json, resource, sys, time
import numpy as np
import faiss

state = {}

def handle(request):
    if request['do'] == 'open':
        return {'version': faiss.__version__}
    if request['do'] == 'prepare':
        corpus, queries = np.load(request['corpus']), np.load(request['queries'])
        if request['metric'] == 'cosine':
            faiss.normalize_L2(corpus)
            faiss.normalize_L2(queries)
        index = (faiss.IndexFlatL2 if request['metric'] == 'l2' else faiss.IndexFlatIP)(corpus.shape[1])
        index.add(corpus)
        state.update(index=index, queries=queries)
        return {}
    usage = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    _, found = state['index'].search(state['queries'], request['k'])
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return {'seconds': seconds, 'cpuSeconds': cpu, 'indices': found[:request['checked']].ravel().tolist()}

for line in sys.stdin:
    try:
        reply = handle(json.loads(line))
    except Exception as error:
        reply = {'error': f'{type(error).__name__}: {error}'}
    print('${REPLY}' + json.dumps(reply), flush=True)
`;
