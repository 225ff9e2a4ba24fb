/**
 * Attention that works anywhere: 64 threads own a row each (a query, in dK/dV a key) and walk the other side in blocks of
 * 8 rows, staged in workgroup memory. Loops over the block have bounds that the compiler does not know, since unrolling
 * them multiplies the time to compile by eight.
 */
import { load4, store4, vec4Type } from '../launch/formats.js';
import { type AttentionForm, type AttentionKernels, forwardBuffers, gradientBuffers } from './form.js';
import { AXES, BLOCK, DROPOUT, entry, KEY, LOG2E, LOWEST, PARAMS, QUERY, range, VALUE } from './layout.js';

const THREADS = 64;

/** The pieces of code that the three kernels share, for one form. `j` counts the rows of the block. */
function pieces({ headDim, dtype, dropout }: AttentionForm) {
  const d4 = headDim / 4;
  const components = range(d4);
  const load = (source: 'QKV' | 'DO', row: string, column: string) =>
    load4(dtype, source, `(${row}) * ${source === 'QKV' ? 'p.stride' : 'p.hidden4'} + ${column}`);
  const each = (code: string) => `for (var j = 0u; j < p.block; j++) { ${code} }`;
  return {
    d4,
    components,
    load,
    each,
    /** Declares `name{e}`, the vec4s of the thread's row. */
    registers: (name: string, initial: (e: number) => string, kind: 'let' | 'var' = 'var') =>
      components.map((e) => `${kind} ${name}_${e} = ${initial(e)};`).join(' '),
    /** Declares `name[j]`, a number for each row of the block. */
    scalars: (name: string, initial: string) => `var ${name}: array<f32, ${BLOCK}>;
    ${each(`${name}[j] = ${initial};`)}`,
    /** Brings the block's rows into workgroup memory; rows beyond the sequence repeat its last one and are masked later. */
    stage: (shared: string, source: 'QKV' | 'DO', column: string) =>
      `for (var i = lane; i < ${BLOCK * d4}u; i += ${THREADS}u) {
      ${shared}[i] = ${load(source, `min(block + i / ${d4}u, end - 1u)`, `${column} + i % ${d4}u`)};
    }`,
    /** `target[j]` += own row · row j of the block. */
    dot: (target: string, own: string, shared: string) =>
      each(
        `${target}[j] += ${components.map((e) => `dot(${own}_${e}, ${shared}[j * ${d4}u + ${e}u])`).join(' + ')};`,
      ),
    /** `target` += weight[j] · row j of the block. */
    axpy: (target: string, weight: string, shared: string) =>
      each(
        components
          .map(
            (e) =>
              `${target}_${e} = fma(vec4f(${weight}[j]), ${shared}[j * ${d4}u + ${e}u], ${target}_${e});`,
          )
          .join(' '),
      ),
    head: (shared: [string, string]) => `
${dropout ? DROPOUT : ''}
${shared.map((name) => `var<workgroup> ${name}: array<vec4f, ${BLOCK * d4}>;`).join('\n')}
${entry(THREADS, 'local_invocation_index', d4)}
  let row = min(first + lane, end - 1u);`,
    walk: `for (var block = begin; block < end; block += ${BLOCK}u) {`,
    /** The thread's row to `buffer`, where it exists. */
    store: (parts: [buffer: string, base: string, name: string][], more = '') =>
      `if (first + lane < end) { ${parts
        .flatMap(([buffer, base, name]) =>
          components.map((e) => store4(dtype, buffer, `${base} + ${e}u`, name.replace('*', `${e}`))),
        )
        .join(' ')} ${more} }`,
    /** Multiplies `name[j]` by the mask of query = own row, keys = rows of the block. */
    dropKeys: (name: string) =>
      !dropout
        ? ''
        : `for (var n = 0u; n < p.block; n += 4u) {
      let bits = randomBlock(row - begin, block - begin + n, head, begin);
      let halves = select(bits & vec4u(0xffffu), bits >> vec4u(16u), ((row - begin) & 1u) == 1u);
      ${range(4)
        .map((x) => `${name}[n + ${x}u] *= keep(halves.${AXES[x]});`)
        .join(' ')}
    }`,
    /** Declares `keeps[j]`, the mask of key = own row, queries = rows of the block. */
    dropQueries: !dropout
      ? ''
      : `var keeps: array<f32, ${BLOCK}>;
    for (var n = 0u; n < p.block; n += 2u) { let bits = randomBlock(block - begin + n, row - begin, head, begin)[(row - begin) & 3u]; keeps[n] = keep(bits & 0xffffu); keeps[n + 1u] = keep(bits >> 16u); }`,
  };
}

const barrier = 'workgroupBarrier();';

function forward(form: AttentionForm) {
  const w = pieces(form);
  return {
    label: 'attention',
    params: PARAMS,
    buffers: forwardBuffers(vec4Type(form.dtype), form),
    body: `${w.head(['ks', 'vs'])}
  var m = ${LOWEST};
  var l = 0.0;
  ${w.registers('q', (e) => `${w.load('QKV', 'row', `${QUERY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('o', () => 'vec4f()')}
  ${w.walk}
    ${w.stage('ks', 'QKV', KEY)}
    ${w.stage('vs', 'QKV', VALUE)}
    ${barrier}
    ${w.scalars('s', '0.0')}
    ${w.dot('s', 'q', 'ks')}
    var top = m;
    ${w.each('s[j] = select(p.minusInfinity, s[j], block + j < end); top = max(top, s[j]);')}
    let shrink = exp2(m - top);
    m = top;
    l *= shrink;
    ${w.each('s[j] = exp2(s[j] - top); l += s[j];')}
    ${w.components.map((e) => `o_${e} *= shrink;`).join(' ')}
    ${w.dropKeys('s')}
    ${w.axpy('o', 's', 'vs')}
    ${barrier}
  }
  ${w.store([['outO', 'row * p.hidden4 + column', 'o_* / l']], 'outL[row * p.heads + head] = m + log2(l);')}
}`,
  };
}

function dq(form: AttentionForm) {
  const w = pieces(form);
  return {
    label: 'attentionDQ',
    params: PARAMS,
    buffers: gradientBuffers(vec4Type(form.dtype), form),
    body: `${w.head(['ks', 'vs'])}
  let lse = L[row * p.heads + head];
  let rowDelta = delta[row * p.heads + head];
  ${w.registers('q', (e) => `${w.load('QKV', 'row', `${QUERY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('g', (e) => w.load('DO', 'row', `column + ${e}u`), 'let')}
  ${w.registers('d', () => 'vec4f()')}
  ${w.walk}
    ${w.stage('ks', 'QKV', KEY)}
    ${w.stage('vs', 'QKV', VALUE)}
    ${barrier}
    ${w.scalars('s', '-lse')}
    ${w.dot('s', 'q', 'ks')}
    ${w.scalars('dp', '0.0')}
    ${w.dot('dp', 'g', 'vs')}
    ${w.dropKeys('dp')}
    ${w.each('s[j] = select(0.0, exp2(s[j]) * (dp[j] - rowDelta) * p.scale, block + j < end);')}
    ${w.axpy('d', 's', 'ks')}
    ${barrier}
  }
  ${w.store([['outD', `row * p.stride + ${QUERY}`, 'd_*']])}
}`,
  };
}

function dkv(form: AttentionForm) {
  const w = pieces(form);
  const kept = form.dropout ? ' * keeps[j]' : '';
  const ofRow = (buffer: string) => `${buffer}[(min(block + j, end - 1u)) * p.heads + head]`;
  return {
    label: 'attentionDKV',
    params: PARAMS,
    buffers: gradientBuffers(vec4Type(form.dtype), form),
    body: `${w.head(['qs', 'gs'])}
  ${w.registers('k', (e) => `${w.load('QKV', 'row', `${KEY} + ${e}u`)} * (p.scale * ${LOG2E})`, 'let')}
  ${w.registers('v', (e) => w.load('QKV', 'row', `${VALUE} + ${e}u`), 'let')}
  ${w.registers('dk', () => 'vec4f()')}
  ${w.registers('dv', () => 'vec4f()')}
  ${w.walk}
    ${w.stage('qs', 'QKV', QUERY)}
    ${w.stage('gs', 'DO', 'column')}
    ${barrier}
    ${w.scalars('s', '0.0')}
    ${w.dot('s', 'k', 'qs')}
    ${w.dropQueries}
    ${w.scalars('pr', `select(0.0, exp2(s[j] - ${ofRow('L')}), block + j < end)`)}
    ${w.scalars('w', `pr[j]${kept}`)}
    ${w.axpy('dv', 'w', 'gs')}
    ${w.scalars('dp', '0.0')}
    ${w.dot('dp', 'v', 'gs')}
    ${w.each(`pr[j] *= (dp[j]${kept} - ${ofRow('delta')}) * p.scale;`)}
    ${w.axpy('dk', 'pr', 'qs')}
    ${barrier}
  }
  ${w.store([
    ['outD', `row * p.stride + ${KEY}`, 'dk_*'],
    ['outD', `row * p.stride + ${VALUE}`, 'dv_*'],
  ])}
}`,
  };
}

export const workgroup: AttentionKernels = {
  name: 'workgroup',
  why: 'works anywhere: a row a thread, blocks of the other side in workgroup memory',
  reads: 'buffers',
  rowsPerTile: () => THREADS,
  supports: () => true,
  prior: () => 1,
  parts: { forward, dq, dkv },
};
