/**
 * The API reference by typedoc, of the declarations that the package's entry points have: what programs see. `npm run
 * docs` writes it, a test asks whether it is whole.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import {
  Application,
  Comment,
  CommentTag,
  type Context,
  Converter,
  type DeclarationReflection,
  Logger,
  LogLevel,
  type ProjectReflection,
  ReflectionKind,
} from 'typedoc';

/** Constants and helper types that a type of the public names is computed from, and that say nothing by themselves. */
const COMPUTED_FROM = [
  'evaluateFlags',
  'finetuneFlags',
  'mineFlags',
  'scoreFlags',
  'splitFlags',
  'METRICS',
  'ROLES',
  'representations',
  'retrievalModes',
  'scoreModes',
  'methods',
  'Method',
  'IsUnion',
  'CamelCase',
  '__global.GPUDevice',
  '__global.GPUBuffer',
  '__global.GPUTexture',
  '__global.GPUTextureView',
];

/** What the names of the main entry are about, by where their sources stand: its page lists them so, in this order. */
const CATEGORIES: readonly (readonly [folder: string, category: string])[] = [
  ['src/tensor', 'Tensors'],
  ['src/autograd/ops', 'Operations'],
  ['src/autograd/methods', 'Operations'],
  ['src/autograd/make', 'Tensors'],
  ['src/autograd/draw', 'Tensors'],
  ['src/kernels', 'Operations'],
  ['src/autograd', 'Gradients and parameters'],
  ['src/gpu', 'Devices and memory'],
  ['src/setup', 'Devices and memory'],
  ['src/models', 'Models'],
  ['src/tokenizer', 'Tokenizers'],
  ['src/ranks', 'Several ranks'],
  ['src/train/ranks', 'Several ranks'],
  ['src/train', 'Fine-tuning'],
  ['src/console', 'Fine-tuning'],
  ['src/optim', 'Fine-tuning'],
  ['src/retrieval', 'Encoding and retrieval'],
  ['src/weights', 'Files of weights'],
  ['src/hub', 'Models'],
  ['src/errors', 'Errors'],
  ['src', 'What signatures mention besides'],
];

/** The main entry's module, as typedoc names it by its folder. */
const MAIN = 'dist/src';

class Messages extends Logger {
  readonly lines: string[] = [];

  override log(message: string, level: LogLevel): void {
    super.log(message, level);
    if (level >= LogLevel.Warn) this.lines.push(message);
  }
}

export interface ApiReference {
  readonly project: ProjectReflection;
  /** Exported names and their members without a docstring, `dawntune.Gpu.memory`. */
  readonly undocumented: readonly string[];
  /** What is wrong with types and links: a type of a public signature that no entry point exports. */
  readonly problems: readonly string[];
  /** Writes the pages. */
  write(folder: string): Promise<void>;
}

/** Reads the declarations of the built package. @param root of the repository. */
export async function readApi(root: string): Promise<ApiReference> {
  const { name, exports } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as {
    name: string;
    exports: Record<string, { types: string }>;
  };
  const entryPoints = Object.values(exports).map(({ types }) => path.join(root, types));
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-api-'));
  try {
    const tsconfig = path.join(folder, 'tsconfig.json');
    const compilerOptions = {
      target: 'es2023',
      lib: ['es2023', 'esnext.disposable'],
      types: [],
      module: 'nodenext',
      strict: true,
      skipLibCheck: true,
    };
    fs.writeFileSync(tsconfig, JSON.stringify({ compilerOptions, files: entryPoints }));
    const documents = fs.readdirSync(path.join(root, 'docs')).filter((name) => name.endsWith('.md'));
    const app = await Application.bootstrap({
      name,
      entryPoints,
      tsconfig,
      basePath: root,
      readme: path.join(root, 'README.md'),
      projectDocuments: documents.map((name) => path.join(root, 'docs', name)),
      sortEntryPoints: false,
      sort: ['alphabetical'],
      categorizeByGroup: false,
      categoryOrder: CATEGORIES.map(([, category]) => category),
      navigation: { includeCategories: true, includeGroups: false },
      disableSources: true,
      excludePrivate: true,
      // The consumer test compiles the declarations.
      skipErrorChecking: true,
      intentionallyNotExported: COMPUTED_FROM,
      validation: { notExported: true, invalidLink: true, notDocumented: false },
    });
    const messages = new Messages();
    app.logger = messages;
    app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }: Context) => {
      describeMethods(project);
      categorize(project);
      for (const document of project.documents ?? [])
        document.name = /^# (.*)$/m.exec(document.content.map(({ text }) => text).join(''))![1]!;
    });
    const project = await app.convert();
    if (!project) throw new Error(`typedoc made nothing: ${messages.lines.join('; ')}`);
    app.validate(project);
    // Modules are named by their folders; programs know them by what they import.
    const undocumented: string[] = [];
    for (const module of project.getChildrenByKind(ReflectionKind.Module)) {
      const [key] =
        Object.entries(exports).find(([, { types }]) => types.endsWith(`/${module.name}/index.d.ts`)) ?? [];
      if (key !== undefined) module.name = `${name}${key.slice(1)}`;
    }
    for (const each of project.getReflectionsByKind(DOCUMENTED) as DeclarationReflection[])
      if (!isDocumented(each) && !needsNone(each)) undocumented.push(each.getFullName());
    return {
      project,
      undocumented,
      problems: messages.lines,
      write: (folder) => app.generateDocs(project, folder),
    };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Methods that operations give to tensors are described where the operations are. */
function describeMethods(project: ProjectReflection): void {
  const described = new Map(
    mainModule(project).children?.map((child) => [
      child.name,
      child.comment ?? child.signatures?.find((signature) => signature.comment)?.comment,
    ]),
  );
  for (const { name, children } of project.getReflectionsByKind(
    ReflectionKind.Class | ReflectionKind.TypeAlias,
  ) as DeclarationReflection[])
    if (name === 'Tensor')
      for (const member of children ?? []) {
        const comment = described.get(member.name);
        if (!comment || isDocumented(member)) continue;
        if (member.signatures) for (const signature of member.signatures) signature.comment = comment.clone();
        else member.comment = comment.clone();
      }
}

/** Sorts the names of the main entry by what they are about. */
function categorize(project: ProjectReflection): void {
  for (const child of mainModule(project).children ?? []) {
    // A name that another entry point shows is a reference, of which a page only tells where it leads.
    const file = project.getSymbolIdFromReflection(child)?.packagePath.replace(/^dist\//, '') ?? '';
    const [, category] = CATEGORIES.find(([folder]) => file.startsWith(folder)) ?? [];
    if (category === undefined) continue;
    const tag = () => new CommentTag('@category', [{ kind: 'text', text: category }]);
    const described = child.signatures?.find((signature) => signature.comment) ?? child;
    described.comment ??= new Comment();
    described.comment.blockTags.push(tag());
  }
}

const mainModule = (project: ProjectReflection): DeclarationReflection => {
  const main = project.getChildrenByKind(ReflectionKind.Module).find(({ name }) => name === MAIN);
  if (!main) throw new Error(`no module ${MAIN}`);
  return main;
};

const DOCUMENTED =
  ReflectionKind.SomeModule |
  ReflectionKind.Variable |
  ReflectionKind.Function |
  ReflectionKind.ClassOrInterface |
  ReflectionKind.TypeAlias |
  ReflectionKind.EnumMember |
  ReflectionKind.Constructor |
  ReflectionKind.Property |
  ReflectionKind.Method |
  ReflectionKind.Accessor;

/** What JavaScript and Node ask an object for by these names, and what it then is. */
const OF_THE_LANGUAGE = new Set([
  'name',
  'toString',
  'toJSON',
  '[dispose]',
  '[asyncDispose]',
  '[customInspect]',
]);

/**
 * Whether there is nothing to say: of what is described where it is inherited from or where another entry point has it, of
 * members that the language names (an error's `name` among them), and of constructors that take nothing.
 */
function needsNone(each: DeclarationReflection): boolean {
  return (
    each.kindOf([ReflectionKind.Reference, ReflectionKind.Module]) ||
    each.inheritedFrom !== undefined ||
    (OF_THE_LANGUAGE.has(each.name) && (each.name !== 'name' || each.overwrites !== undefined)) ||
    (each.kindOf(ReflectionKind.Constructor) &&
      (each.signatures ?? []).every(({ parameters = [] }) => parameters.length === 0))
  );
}

/** Tags that `categorize` wrote are no docstring. */
const OUR_TAGS = ['@category'] as const;

/** A function by the docstring of one of its signatures, an accessor by that of getter or setter, anything else by its own. */
function isDocumented(each: DeclarationReflection): boolean {
  const type = each.type as { declaration?: DeclarationReflection } | undefined;
  const signatures = [
    ...(each.signatures ?? []),
    ...(type?.declaration?.signatures ?? []),
    each.getSignature,
    each.setSignature,
  ];
  return [each, ...signatures].some((described) => described?.hasComment(OUR_TAGS));
}
