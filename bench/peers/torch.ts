/**
 * PyTorch on the processor, as a program for the Python that `--python` names. It speaks the same lines as the other peers
 * (protocol.ts) and makes the same operands by the same formula (workloads.ts).
 */
import { REPLY, REST } from './protocol.js';
import { ADAM, CHECKED_STEPS, SEEDS } from './workloads.js';

export const torchProgram = `
import json, math, resource, sys, time
import numpy as np
import torch
import torch.nn.functional as F

SEEDS = json.loads('${JSON.stringify(SEEDS)}')
ADAM = json.loads('${JSON.stringify(ADAM)}')

def operand(name, shape, scale=1.0):
    count = math.prod(shape)
    with np.errstate(over='ignore'):
        h = (np.arange(count, dtype=np.uint32) + np.uint32(SEEDS[name] * 0x1000193)) * np.uint32(0x9e3779b1)
        h = (h ^ (h >> np.uint32(15))) * np.uint32(0x85ebca77)
    h = h ^ (h >> np.uint32(13))
    values = scale * (h.astype(np.float64) / 2**31 - 1)
    return torch.from_numpy(values.astype(np.float32).reshape(shape))

def rows_of(rows):
    return list(dict.fromkeys([0, rows // 2, rows - 1]))

class Repeated:
    def __init__(self, compute, pick):
        self.compute, self.pick = compute, pick
    def result(self):
        with torch.no_grad():
            return self.pick(self.compute()).flatten().tolist()
    def run(self, times):
        with torch.no_grad():
            for _ in range(times):
                self.compute()

class Train:
    def __init__(self, rows, width, hidden):
        self.x, self.target = operand('x', [rows, width]), operand('target', [rows, width])
        self.first, self.second = torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, width)
        with torch.no_grad():
            self.first.weight.copy_(operand('w1', [hidden, width], 1 / math.sqrt(width)))
            self.second.weight.copy_(operand('w2', [width, hidden], 1 / math.sqrt(hidden)))
            self.first.bias.zero_()
            self.second.bias.zero_()
        parameters = [*self.first.parameters(), *self.second.parameters()]
        self.optimizer = torch.optim.AdamW(parameters, lr=ADAM['learningRate'], betas=(ADAM['beta1'], ADAM['beta2']),
                                           eps=ADAM['eps'], weight_decay=0.0)
        self.losses = [self.step() for _ in range(${CHECKED_STEPS})]
    def step(self):
        loss = F.mse_loss(self.second(F.gelu(self.first(self.x))), self.target)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()
    def result(self):
        return self.losses
    def run(self, times):
        for _ in range(times):
            self.step()

def prepare(w):
    if w['kind'] == 'matmul':
        n = w['n']
        a, b = operand('a', [n, n]), operand('b', [n, n])
        return Repeated(lambda: a @ b, lambda y: y[rows_of(n)])
    if w['kind'] == 'attention':
        shape = [w['texts'], w['tokens'], w['heads'], w['headDim']]
        q, k, v = (operand(name, shape).transpose(1, 2) for name in 'qkv')
        return Repeated(lambda: F.scaled_dot_product_attention(q, k, v),
                        lambda y: y.transpose(1, 2)[:, rows_of(w['tokens'])])
    return Train(w['rows'], w['width'], w['hidden'])

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

work = None
for line in sys.stdin:
    request = json.loads(line)
    reply = {}
    try:
        if request['do'] == 'open':
            reply = {'version': torch.__version__, 'adapter': f'{torch.get_num_threads()} threads'}
        elif request['do'] == 'prepare':
            work = prepare(request['workload'])
            reply = {'result': work.result(), 'variant': None}
        elif request['do'] == 'run':
            start, used = time.perf_counter(), cpu()
            work.run(request['times'])
            reply = {'seconds': time.perf_counter() - start, 'cpuSeconds': cpu() - used}
        elif request['do'] == 'rest':
            rest()
    except Exception as error:
        reply = {'error': str(error)}
    print('${REPLY}' + json.dumps(reply), flush=True)
`;
