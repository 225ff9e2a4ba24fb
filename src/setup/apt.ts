/**
 * apt on private folders: it reads the machine's own sources, keys and proxies and writes nothing of the system's, so that
 * packages can be looked up and downloaded without rights. Also readers for what apt prints.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { MachineError } from '../errors.js';
import { backportsWithMesa } from './debian-releases.js';
import { command } from './workspace.js';

export type Apt = (tool: 'apt-get' | 'apt-cache', args: string[]) => Promise<string>;

export interface AptScope {
  /** Nothing will be installed, so that no lock is needed. */
  readonly unlocked?: boolean;
  /**
   * Another suite of the archive that the machine's release comes from, and nothing besides: as on a machine where no
   * package is installed, so that a package comes with all that it depends on.
   */
  readonly suite?: string;
}

/** apt with folders of its own and the machine's sources, proxies and keys, updated. */
export async function privateApt(workspace: string, { unlocked = false, suite }: AptScope): Promise<Apt> {
  const release = machineRelease();
  const codename = release['VERSION_CODENAME'] ?? '';
  const backports = suite ? undefined : backportsWithMesa(release['ID'], codename);
  const files: SourceFile[] = [];
  for (const location of ['/etc/apt/sources.list', '/etc/apt/sources.list.d']) {
    if (!existsSync(location)) continue;
    const names = statSync(location).isDirectory()
      ? readdirSync(location).map((file) => path.join(location, file))
      : [location];
    for (const name of names) files.push({ name, text: readFileSync(name, 'utf8') });
  }
  const sources = suite ? suiteSources(files, codename, suite) : privateSources(files, codename, backports);
  const listed = path.join(workspace, 'machine.sources');
  const configuration = path.join(workspace, 'apt.conf');
  writeFileSync(listed, sources);
  const nothingInstalled = path.join(workspace, 'status');
  if (suite) writeFileSync(nothingInstalled, '');
  mkdirSync(path.join(workspace, 'lists', 'partial'), { recursive: true });
  mkdirSync(path.join(workspace, 'archives', 'partial'), { recursive: true });
  // apt checks signatures in temporary files, and where it cannot write any, it takes the archive for one without.
  const temporary = path.join(workspace, 'temporary');
  mkdirSync(temporary, { recursive: true });
  const settings: Record<string, string> = {
    'Dir::Etc::Parts': '/dev/null',
    'Dir::Etc::main': '/dev/null',
    'Dir::Etc::sourcelist': listed,
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::Etc::preferences': '/dev/null',
    'Dir::Etc::preferencesparts': '/dev/null',
    'Dir::State::lists': path.join(workspace, 'lists'),
    'Dir::Cache': workspace,
    'Dir::Cache::archives': path.join(workspace, 'archives'),
    // The usual download user could not enter a private folder.
    'APT::Sandbox::User': process.getuid?.() === 0 ? 'root' : '',
    'APT::Install-Recommends': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '3',
    ...(backports ? { 'APT::Default-Release': backports } : {}),
    // Without its lists a suite has no package, and nothing else could say why.
    ...(suite ? { 'Dir::State::status': nothingInstalled, 'APT::Update::Error-Mode': 'any' } : {}),
    ...(unlocked ? { 'Debug::NoLocking': '1' } : {}),
  };
  const machine = machineSettings(await command('apt-config', ['dump']));
  writeFileSync(
    configuration,
    [...Object.entries(settings).map(([key, value]) => `${key} "${value}";`), ...machine, ''].join('\n'),
  );
  const env = {
    ...{ ...process.env, TMPDIR: temporary, APT_CONFIG: configuration },
    ...{ LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
  };
  const apt: Apt = (tool, args) =>
    // `apt-get download` writes into the working folder.
    command('env', ['--chdir', workspace, tool, ...args], env);
  await apt('apt-get', ['update']);
  return apt;
}

/** Lines of `apt-config dump` that say how this machine reaches its archive (proxies, timeouts, checks). */
export function machineSettings(dump: string): string[] {
  return dump
    .split('\n')
    .filter((line) => /^(Acquire::|APT::Architecture)/.test(line))
    .filter((line) => !/^Acquire::(Languages|IndexTargets|CompressionTypes|Changelogs)\b/.test(line))
    .filter((line) => !/ "";$/.test(line));
}

export interface SourceFile {
  readonly name: string;
  readonly text: string;
}

interface SourceEntry {
  readonly uris: string;
  readonly suites: string[];
  readonly components: string[];
  /** Further deb822 fields as they were, e.g. `Signed-By: …`. */
  readonly options: string[];
}

/**
 * The distribution's own entries of the machine's apt sources, as one deb822 text, with `backports` added where
 * `codename` itself comes from. Third-party archives are left out; so is all but `main`, to keep the download small.
 * @throws MachineError when no entry serves `codename`.
 */
export function privateSources(files: readonly SourceFile[], codename: string, backports?: string): string {
  const own = ownEntries(files, codename);
  const known = own.some((entry) => entry.suites.includes(backports ?? ''));
  return renderSources(
    own.map((entry) => {
      const suites = [...entry.suites];
      if (backports && !known && suites.includes(codename)) suites.push(backports);
      return { ...entry, suites };
    }),
  );
}

/**
 * Another suite of the archives that serve `codename`, by the same addresses and keys, as one deb822 text.
 * @throws MachineError when no entry serves `codename`.
 */
export function suiteSources(files: readonly SourceFile[], codename: string, suite: string): string {
  const main = ownEntries(files, codename).filter((entry) => entry.suites.includes(codename));
  return renderSources(main.map((entry) => ({ ...entry, suites: [suite] })));
}

function ownEntries(files: readonly SourceFile[], codename: string): SourceEntry[] {
  const entries = files.flatMap(({ name, text }) => {
    if (name.endsWith('.sources')) return parseDeb822(text);
    return name.endsWith('.list') ? parseOneLine(text) : [];
  });
  const own = entries
    .map((entry) => ({
      ...entry,
      suites: entry.suites.filter((suite) => suite === codename || suite.startsWith(`${codename}-`)),
    }))
    .filter((entry) => entry.suites.length > 0 && entry.components.includes('main'));
  if (!codename || !own.some((entry) => entry.suites.includes(codename)))
    throw new MachineError(`apt: no source of the release "${codename}" among ${files.length} source files`);
  return own;
}

const renderSources = (entries: readonly SourceEntry[]): string =>
  entries
    .map((entry) =>
      [
        'Types: deb',
        `URIs: ${entry.uris}`,
        `Suites: ${entry.suites.join(' ')}`,
        'Components: main',
        ...entry.options,
        '',
      ].join('\n'),
    )
    .join('\n');

/** sources.list(5), deb822 style. */
function parseDeb822(text: string): SourceEntry[] {
  const uncommented = text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n');
  const entries: SourceEntry[] = [];
  for (const stanza of uncommented.split(/\n\s*\n/)) {
    const fields = new Map<string, string>();
    let last = '';
    for (const line of stanza.split('\n')) {
      const match = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
      if (match) {
        last = (match[1] ?? '').toLowerCase();
        fields.set(last, match[2] ?? '');
      } else if (/^\s+\S/.test(line)) {
        // Continuations keep their indentation: a Signed-By may hold a whole key.
        fields.set(last, `${fields.get(last) ?? ''}\n${line}`);
      }
    }
    const words = (key: string) => (fields.get(key) ?? '').split(/\s+/).filter(Boolean);
    if (!words('types').includes('deb') || fields.get('enabled')?.trim() === 'no') continue;
    const skipped = new Set(['types', 'uris', 'suites', 'components', 'enabled']);
    entries.push({
      uris: words('uris').join(' '),
      suites: words('suites'),
      components: words('components'),
      options: [...fields].filter(([key]) => !skipped.has(key)).map(([key, value]) => `${key}: ${value}`),
    });
  }
  return entries;
}

/** sources.list(5), one-line style: `deb [option=value …] uri suite component…`. */
function parseOneLine(text: string): SourceEntry[] {
  const entries: SourceEntry[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (!match) continue;
    const options = (match[1] ?? '')
      .split(/\s+/)
      .filter(Boolean)
      .map((option) => {
        const [key = '', value = ''] = option.split(/=(.*)/s);
        return `${key === 'arch' ? 'architectures' : key}: ${value.replaceAll(',', ' ')}`;
      });
    entries.push({
      uris: match[2] ?? '',
      suites: [match[3] ?? ''],
      components: (match[4] ?? '').split(/\s+/).filter(Boolean),
      options,
    });
  }
  return entries;
}

/** What /etc/os-release says; nothing where there is none. */
export function machineRelease(): Record<string, string> {
  return existsSync('/etc/os-release') ? parseOsRelease(readFileSync('/etc/os-release', 'utf8')) : {};
}

export function parseOsRelease(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/^(\w+)="?([^"\n]*)"?$/gm)].map((match) => [match[1], match[2]]),
  );
}

export interface PackageVersion {
  readonly name: string;
  readonly version: string;
}

/** What `apt-get install --print-uris` would download. */
export function parsePrintUris(output: string): PackageVersion[] {
  return [...output.matchAll(/^'[^']+' ([^_\s]+)_([^_\s]+)_[^_\s]+\.deb /gm)].map((match) => ({
    name: match[1] ?? '',
    // apt escapes the colon of an epoch in file names.
    version: decodeURIComponent(match[2] ?? ''),
  }));
}

/** The graph that `apt-cache depends --recurse` prints: package → what it depends on. */
export function parseDependencies(output: string): Map<string, string[]> {
  const graph = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of output.split('\n')) {
    const plain = (text: string) => text.replace(/[<>]/g, '').replace(/:\w+$/, '');
    const dependency = /^\s+\|?(?:Pre)?Depends: (\S+)/.exec(line) ?? /^\s{4,}(\S+)$/.exec(line);
    if (dependency) current.push(plain(dependency[1] ?? ''));
    else if (/^\S+$/.test(line)) {
      current = graph.get(plain(line)) ?? [];
      graph.set(plain(line), current);
    }
  }
  return graph;
}
