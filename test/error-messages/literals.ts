/**
 * The messages that the source can end a command with, as texts with gaps: the argument of every `new InputError(…)` and
 * `new MachineError(…)`, and where that is a helper's parameter, what the helper is called with in the same file. What a
 * helper of another file or a table puts into a gap is not seen.
 */
import fs from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { repositoryRoot } from '../repository.js';

/** A message as the source has it. */
export interface MessageLiteral {
  /** From the root of the repository, with forward slashes. */
  readonly file: string;
  /** Fixed texts in their order, a gap between each two; a choice in the source gives a literal for each side. */
  readonly parts: readonly string[];
}

/** How a literal is written in lists: `…` stands for what the run puts in. */
export const spelled = ({ parts }: MessageLiteral): string => parts.join('…');

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** Whether a line that a command told contains a message. */
export function teller({ parts }: MessageLiteral): (line: string) => boolean {
  const expression = new RegExp(parts.map(escaped).join('.*'), 's');
  return (line) => expression.test(line);
}

/** The texts that an expression can have, each as fixed parts with gaps between. */
function texts(node: ts.Expression | undefined): string[][] {
  if (!node) return [['', '']];
  if (ts.isParenthesizedExpression(node)) return texts(node.expression);
  if (ts.isStringLiteralLike(node)) return [[node.text]];
  if (ts.isConditionalExpression(node)) return [...texts(node.whenTrue), ...texts(node.whenFalse)];
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken)
    return texts(node.left).flatMap((left) => texts(node.right).map((right) => joined(left, right)));
  if (ts.isTemplateExpression(node))
    return [[node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)]];
  return [['', '']];
}

const joined = (left: readonly string[], right: readonly string[]) => [
  ...left.slice(0, -1),
  left.at(-1)! + right[0]!,
  ...right.slice(1),
];

/** Words that a reader would search for. */
const hasWords = (parts: readonly string[]) => parts.some((part) => /[a-zA-Z]{3,}.*[a-zA-Z]{2,}/.test(part));

/** The function around a node, and the name by which the file calls it. */
function helperOf(node: ts.Node): string | undefined {
  for (let at: ts.Node = node; at.parent; at = at.parent) {
    const { parent } = at;
    if ((ts.isFunctionDeclaration(at) || ts.isMethodDeclaration(at)) && at.name) return at.name.getText();
    if ((ts.isArrowFunction(at) || ts.isFunctionExpression(at)) && ts.isVariableDeclaration(parent))
      return parent.name.getText();
  }
  return undefined;
}

const isKnownError = (node: ts.Node): node is ts.NewExpression =>
  ts.isNewExpression(node) && /^(?:Input|Machine)Error$/.test(node.expression.getText());

function literalsOf(file: string, text: string): MessageLiteral[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: MessageLiteral[] = [];
  const helpers = new Set<string>();
  const add = (argument: ts.Expression | undefined) => {
    for (const parts of texts(argument)) if (hasWords(parts)) found.push({ file, parts });
  };
  const visit = (node: ts.Node, each: (node: ts.Node) => void): void => {
    each(node);
    ts.forEachChild(node, (child) => visit(child, each));
  };
  visit(source, (node) => {
    if (!isKnownError(node)) return;
    add(node.arguments?.[0]);
    // A text without words of its own is a helper's: its callers have the words.
    if (texts(node.arguments?.[0]).some((parts) => !hasWords(parts))) {
      const helper = helperOf(node);
      if (helper !== undefined) helpers.add(helper);
    }
  });
  if (helpers.size === 0) return found;
  visit(source, (node) => {
    if (!ts.isCallExpression(node)) return;
    const { expression } = node;
    const name = ts.isPropertyAccessExpression(expression) ? expression.name : expression;
    if (!ts.isIdentifier(name) || !helpers.has(name.text)) return;
    // A prototype of C is none.
    for (const argument of node.arguments)
      for (const parts of texts(argument))
        if (parts.some((part) => / /.test(part.trim())) && !parts.some((part) => part.includes('void *')))
          found.push({ file, parts });
  });
  return found;
}

function sources(folder: string): string[] {
  return fs.readdirSync(path.join(repositoryRoot, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = path.posix.join(folder, entry.name);
    return entry.isDirectory() ? sources(name) : name.endsWith('.ts') ? [name] : [];
  });
}

/** Every message of `src`, each once, in the order of files and lines. */
export function messageLiterals(): MessageLiteral[] {
  const all = new Map<string, MessageLiteral>();
  for (const file of sources('src').sort()) {
    const text = fs.readFileSync(path.join(repositoryRoot, file), 'utf8');
    if (!/new (?:Input|Machine)Error\(/.test(text)) continue;
    for (const literal of literalsOf(file, text)) all.set(`${file}: ${spelled(literal)}`, literal);
  }
  return [...all.values()];
}
