/** A program that uses the package from outside: an empty project with the strictest settings, for tests of the package. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { repositoryRoot } from './repository.js';

interface PackageFile {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string }>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly optionalDependencies: Readonly<Record<string, string>>;
}

export const packageFile = JSON.parse(
  fs.readFileSync(path.join(repositoryRoot, 'package.json'), 'utf8'),
) as PackageFile;

/** What programs import: `dawntune`, `dawntune/kernels`, … */
export const entryPoints = Object.keys(packageFile.exports).map((key) => `dawntune${key.slice(1)}`);

const tsconfig = {
  compilerOptions: {
    target: 'es2023',
    // Neither the DOM's types nor Node's.
    lib: ['es2023', 'esnext.disposable'],
    types: [],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    noPropertyAccessFromIndexSignature: true,
    noImplicitOverride: true,
    verbatimModuleSyntax: true,
    isolatedModules: true,
    skipLibCheck: false,
  },
  files: ['program.ts'],
};

/** Imports every entry point, and uses what a training program does. */
export const program = `${entryPoints.map((name, i) => `import * as entry${i} from '${name}';`).join('\n')}
import { Gpu, Tensor, backward, scope, type TensorMethods } from 'dawntune';
import { quantile } from 'dawntune/bench';
import { defineKernel, f32 } from 'dawntune/kernels';

export const entries = [${entryPoints.map((_, i) => `entry${i}`).join(', ')}];
export type Method = keyof TensorMethods;

const cube = defineKernel({
  name: 'cube',
  inputs: { x: f32('...') },
  outputs: { y: f32('...') },
  params: { factor: 'f32' },
  body: 'y[i] = p.factor * x[i] * x[i] * x[i];',
  gradient: { x: 'dx[i] = 3.0 * p.factor * x[i] * x[i] * dy[i];' },
});

const gpu: Gpu = await Gpu.open();
const loss: number = await scope(async () => {
  const x: Tensor = Tensor.from(gpu, [1, 2, 3], [3]);
  x.requiresGrad = true;
  const y: Tensor = cube({ x }, { factor: 2 }).square().sum();
  backward(y);
  const gradient: Tensor | undefined = x.grad;
  if (gradient === undefined || (await gradient.toFloat32())[0] !== 24) throw new Error('gradient');
  return y.item();
});
gpu.close();
// @ts-expect-error: the parameter is missing
const missing = () => cube({ x: Tensor.scalar(gpu, 1) });
// @ts-expect-error: an input of another name
const unknown = () => cube({ z: Tensor.scalar(gpu, 1) }, { factor: 1 });
export const all = { loss, missing, unknown, median: quantile([1, 2, 3], 0.5) };
declare const console: { log(...values: unknown[]): void };
console.log(JSON.stringify({ loss, entries: entries.map((entry) => Object.keys(entry).length) }));
`;

/** Makes the project in an empty folder; `dawntune` is what lies at `target`. */
export function makeConsumer(folder: string, target: string): void {
  fs.mkdirSync(path.join(folder, 'node_modules'), { recursive: true });
  if (!fs.existsSync(path.join(folder, 'node_modules', 'dawntune')))
    fs.symlinkSync(target, path.join(folder, 'node_modules', 'dawntune'));
  fs.writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }\n');
  fs.writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify(tsconfig));
  fs.writeFileSync(path.join(folder, 'program.ts'), program);
}

/** Compiles the project; what the compiler says against it, else nothing. */
export function compileConsumer(folder: string): string {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  try {
    execFileSync(process.execPath, [tsc, '-p', folder], { encoding: 'utf8', stdio: 'pipe' });
    return '';
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

/** Runs what was compiled; its output. */
export function runConsumer(folder: string): string {
  return execFileSync(process.execPath, [path.join(folder, 'program.js')], { cwd: folder, encoding: 'utf8' });
}
