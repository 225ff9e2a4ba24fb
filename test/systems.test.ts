/** What other systems do with files, as far as it can be tried here: Windows' paths, files that are held, its text files. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { InputError } from '../src/errors.js';
import { liesIn } from '../src/files/inside.js';
import { readJson } from '../src/files/json.js';
import { readLines } from '../src/files/lines.js';
import { rename, whileHeld } from '../src/files/rename.js';
import { makeTemporaryFolder } from '../src/files/temporary-folder.js';
import { repositoryRoot } from './repository.js';

test('what lies in a folder, by the paths of both kinds of system', () => {
  for (const [folder, file, within] of [
    ['C:\\models\\bge', 'C:\\models\\bge\\config.json', true],
    ['C:\\models\\bge', 'C:\\models\\bge\\1_Pooling\\config.json', true],
    ['C:\\models\\bge', 'c:\\Models\\BGE\\config.json', true],
    ['M:\\', 'M:\\config.json', true],
    ['\\\\server\\share\\', '\\\\server\\share\\config.json', true],
    ['C:\\models\\bge', 'C:\\models\\bge-other\\config.json', false],
    ['C:\\models\\bge', 'C:\\models\\config.json', false],
    ['C:\\models\\bge', 'D:\\models\\bge\\config.json', false],
    ['C:\\models\\bge', 'C:\\models\\bge', false],
  ] as const)
    assert.equal(liesIn(folder, file, path.win32), within, `${file} in ${folder}`);
  for (const [folder, file, within] of [
    ['/models/bge', '/models/bge/config.json', true],
    ['/models/bge', '/models/bge/..config.json', true],
    ['/', '/config.json', true],
    ['/models/bge', '/models/bge-other/config.json', false],
    ['/models/bge', '/models', false],
  ] as const)
    assert.equal(liesIn(folder, file, path.posix), within, `${file} in ${folder}`);
});

test('a file that another program holds is tried again on Windows alone, and not for ever', () => {
  const held = (times: number, code: string) => {
    let calls = 0;
    const act = () => {
      if (++calls <= times) throw Object.assign(new Error(code), { code });
    };
    return { act, calls: () => calls };
  };
  for (const code of ['EPERM', 'EACCES', 'EBUSY']) {
    const once = held(2, code);
    whileHeld(once.act, 'win32');
    assert.equal(once.calls(), 3);
    const elsewhere = held(1, code);
    assert.throws(() => whileHeld(elsewhere.act, 'linux'), { code });
    assert.equal(elsewhere.calls(), 1);
  }
  const full = held(1, 'ENOSPC');
  assert.throws(() => whileHeld(full.act, 'win32'), { code: 'ENOSPC' });
  assert.equal(full.calls(), 1);
});

test('files of Windows: line ends of two characters, byte order marks, and UTF-16, which is told', () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-systems-'));
  const file = path.join(folder, 'rows.jsonl');
  try {
    fs.writeFileSync(file, '\ufeff{"a":1}\r\n{"a":2}\r\n');
    assert.deepEqual(
      [...readLines(file)].map(({ text }) => text),
      ['{"a":1}', '{"a":2}'],
    );
    fs.writeFileSync(file, '\ufeff{\r\n"a": 1\r\n}\r\n');
    assert.deepEqual({ ...(readJson(file) as object) }, { a: 1 });
    fs.writeFileSync(file, Buffer.from('\ufeff{"a":1}\r\n', 'utf16le'));
    for (const read of [() => [...readLines(file)], () => readJson(file)])
      assert.throws(read, (error) => error instanceof InputError && /found UTF-16 text/.test(error.message));
    rename(file, path.join(folder, 'other.jsonl'));
    assert.deepEqual(fs.readdirSync(folder), ['other.jsonl']);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
});

const OWN_FOLDERS = ['.github', 'assets', 'bench', 'docs', 'examples', 'scripts', 'src', 'test'];

/** Paths of the repository's own files, with slashes. */
function* ownFiles(folder = ''): Generator<string> {
  for (const entry of fs.readdirSync(path.join(repositoryRoot, folder), { withFileTypes: true })) {
    // At the top lies what others put there too.
    if (folder === '' && !OWN_FOLDERS.includes(entry.name)) continue;
    const name = path.posix.join(folder, entry.name);
    if (entry.isDirectory()) yield* ownFiles(name);
    else yield name;
  }
}

/** What another system would not take in a path, with a path that has it. */
const REFUSED_PATHS: readonly (readonly [what: string, refused: RegExp, example: string])[] = [
  ['a name of a device', /(^|\/)(aux|con|nul|prn|com\d|lpt\d)(\.[^/]*)?(\/|$)/i, 'src/aux.ts'],
  ['a character that Windows keeps for itself', /[<>:"|?*\\]/, 'runs/12:30.json'],
  ['a dot or a space at the end of a name', /[. ](\/|$)/, 'docs/page.'],
  ['a name that is not ASCII, which macOS writes in another form', /[^ -~]/, 'docs/größe.md'],
  ['more than 160 characters, which leaves 100 for the folder of the clone', /^.{161,}$/, 'a'.repeat(161)],
];

test('the files of the repository have names that every system takes, and no two differ by case alone', () => {
  for (const [what, refused, example] of REFUSED_PATHS) assert.match(example, refused, what);
  const folded = new Map<string, string>();
  for (const file of ownFiles()) {
    for (const [what, refused] of REFUSED_PATHS) assert.doesNotMatch(file, refused, `${file} has ${what}`);
    assert.equal(folded.get(file.toLowerCase()), undefined, file);
    folded.set(file.toLowerCase(), file);
    const stat = fs.lstatSync(path.join(repositoryRoot, file));
    assert.ok(!stat.isSymbolicLink(), `${file} is a symbolic link, which a clone on Windows has as a text`);
  }
  assert.ok(folded.size > 1000, `${folded.size} files`);
});

/** What Windows' own shell, in which npm runs scripts there, does not do as others do, with a script that has it. */
const REFUSED_SCRIPTS: readonly (readonly [what: string, refused: RegExp, example: string])[] = [
  ['a variable before a program', /(^|&& *)[A-Z_]+=/, 'CI=1 node a.js'],
  ['single quotes, which it gives to the program', /^[^"]*'|"[^"]*"[^"]*'/, "node --test 'dist/*.js'"],
  [
    'a program that it does not have',
    /(^|[&|] *)(rm|cp|mv|mkdir|cat|chmod|touch|sh|bash|env|export|true)\b/,
    'a && rm b',
  ],
  ['a variable as other shells write it', /\$\{?\w/, 'node $HOME/a.js'],
  ['a pattern that it does not expand', /\*/, 'node --test dist/test/*.js'],
  ['commands after a semicolon or in the background', /;(?=[^"]*("[^"]*"[^"]*)*$)|[^&]&([^&]|$)/, 'a & b'],
  ['a path that is a program', /(^|&& *)\.?\//, './a.js'],
];

test('the scripts of package.json run in the shell of Windows too', () => {
  const { scripts } = JSON.parse(fs.readFileSync(path.join(repositoryRoot, 'package.json'), 'utf8')) as {
    readonly scripts: Readonly<Record<string, string>>;
  };
  for (const [what, refused, example] of REFUSED_SCRIPTS) {
    assert.match(example, refused, what);
    for (const [name, script] of Object.entries(scripts))
      assert.doesNotMatch(script, refused, `${name} has ${what}`);
  }
});

test('npm is told of every package that has an install script, so that it warns of none', () => {
  const read = (name: string): unknown =>
    JSON.parse(fs.readFileSync(path.join(repositoryRoot, name), 'utf8'));
  const { packages } = read('package-lock.json') as {
    readonly packages: Readonly<Record<string, { readonly hasInstallScript?: boolean }>>;
  };
  const having = Object.keys(packages).filter((name) => packages[name]!.hasInstallScript && name !== '');
  const { allowScripts } = read('package.json') as {
    readonly allowScripts: Readonly<Record<string, boolean>>;
  };
  assert.deepEqual(
    Object.keys(allowScripts),
    having.map((name) => name.replace(/^.*node_modules\//, '')),
  );
});

/** What a program that runs on every system does not do, with a line that does it. */
const REFUSED_LINES: readonly (readonly [what: string, refused: RegExp, example: string])[] = [
  [
    'the path of an address as that of a file',
    /import\.meta\.url\)\.pathname/,
    "new URL('a', import.meta.url).pathname",
  ],
  ['a folder for temporary files by its name on one system', /['"`]\/tmp\b/, "mkdtemp('/tmp/a')"],
  [
    'a program of npm, which Windows has under another name',
    /(spawn|execFile)(Sync)?\(\s*'(npm|npx)'/,
    "execFileSync('npm')",
  ],
  ['a shell', /(spawn|execFile)(Sync)?\(\s*'(sh|bash)'|\bshell: true/, "spawn('bash')"],
];

test('programs name no folder, program or path that one system alone has', () => {
  for (const [what, refused, example] of REFUSED_LINES) assert.match(example, refused, what);
  let seen = 0;
  for (const file of ownFiles()) {
    if (!/^(src|bench|scripts|examples)\/.*\.[jt]s$/.test(file)) continue;
    seen++;
    const text = fs.readFileSync(path.join(repositoryRoot, file), 'utf8');
    for (const [what, refused] of REFUSED_LINES) assert.doesNotMatch(text, refused, `${file} has ${what}`);
    assert.ok(!text.includes('\r'), `${file} has line ends of Windows`);
  }
  assert.ok(seen > 400, `${seen} files`);
});

test('where no temporary folder can be made, a line says so and names the variable for another', () => {
  const { TMPDIR: before } = process.env;
  process.env['TMPDIR'] = path.join(repositoryRoot, 'nowhere');
  try {
    assert.throws(
      () => makeTemporaryFolder('dawntune-'),
      /^MachineError: .*nowhere: no temporary folder can be made there: .*; TMPDIR names another place$/,
    );
  } finally {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  }
});
