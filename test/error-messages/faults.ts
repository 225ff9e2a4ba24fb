/** What goes wrong around a call: files that fail or change at a certain operation, and facts of the process. */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import type { Stage } from './call.js';

type Operation = (...args: unknown[]) => unknown;
/** Those of the file system that rows stop at. */
type FileOperation =
  | 'mkdirSync'
  | 'openSync'
  | 'readFileSync'
  | 'readSync'
  | 'realpathSync'
  | 'renameSync'
  | 'rmSync'
  | 'statSync'
  | 'writeSync';

/** Calls `act` before operation number `nth` (from 1) on a file whose path matches, and before those that follow. */
export function before(operation: FileOperation, on: RegExp, act: () => void, nth = 1): Stage {
  const table = fs as unknown as Record<string, Operation>;
  const [real, open] = [table[operation]!, table['openSync']!];
  const paths = new Map<unknown, unknown>();
  let count = 0;
  const stopped: Operation = (...args) => {
    const file = typeof args[0] === 'number' ? paths.get(args[0]) : args[0];
    if (on.test(String(file).replaceAll('\\', '/')) && ++count >= nth) act();
    return real.apply(fs, args);
  };
  table['openSync'] = (...args) => {
    const descriptor = (operation === 'openSync' ? stopped : open).apply(fs, args);
    paths.set(descriptor, args[0]);
    return descriptor;
  };
  if (operation !== 'openSync') table[operation] = stopped;
  return {
    end: () => {
      table['openSync'] = open;
      table[operation] = real;
    },
  };
}

/** What the system says of a file. */
const fault = (code: string) => () => {
  throw Object.assign(new Error(`${code}: refused`), { code, errno: -1, syscall: 'refused' });
};

/** The operation fails with the system's `code`, on files whose path matches. */
export const failing = (operation: FileOperation, on: RegExp, code: string, nth = 1): Stage =>
  before(operation, on, fault(code), nth);

/** The file has other content when it is opened for the second time, or the `nth`. */
export const changing = (file: string, content: string, nth = 2): Stage => {
  const write = fs.writeFileSync;
  return before(
    'openSync',
    new RegExp(`(^|/)${file.replaceAll('.', '\\.')}$`),
    () => write(file, content),
    nth,
  );
};

/** Looks at a file of the system are led to another, or to nothing; also those of `import { readFileSync } …`. */
export function leading(where: Readonly<Record<string, string>>): Stage {
  const table = fs as unknown as Record<string, Operation>;
  const names = ['existsSync', 'readFileSync', 'readdirSync', 'statSync'];
  const real = names.map((name) => [name, table[name]!] as const);
  for (const [name, operation] of real)
    table[name] = (file, ...rest) => operation.call(fs, where[String(file)] ?? file, ...rest);
  syncBuiltinESMExports();
  return {
    end: () => {
      for (const [name, operation] of real) table[name] = operation;
      syncBuiltinESMExports();
    },
  };
}

/** Several at once. */
export const all = (...stages: readonly Stage[]): Stage => ({
  names: Object.assign({}, ...stages.map(({ names }) => names)),
  end: async () => {
    for (const { end } of stages.toReversed()) await end?.();
  },
});

/** A fact of an object is another until the call has ended. */
export function being<T extends object, K extends keyof T>(object: T, name: K, value: T[K]): Stage {
  const usual = Object.getOwnPropertyDescriptor(object, name);
  Object.defineProperty(object, name, { value, configurable: true, writable: true });
  return {
    end: () => {
      if (usual) Object.defineProperty(object, name, usual);
      else delete object[name];
    },
  };
}
