/**
 * Small ONNX models as bytes (onnx.proto, IR version 8): constants and nodes, no inputs. Protocol buffers hold fields as a
 * key (number and wire type) and a value; only varints and lengths are needed here.
 */

export interface OnnxNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole numbers by name. */
  readonly attributes?: Readonly<Record<string, number>>;
  /** Lists of whole numbers by name. */
  readonly lists?: Readonly<Record<string, readonly number[]>>;
  readonly domain?: string;
}

export interface OnnxConstant {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array | BigInt64Array;
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[];
  readonly constants: readonly OnnxConstant[];
  readonly output: { readonly name: string; readonly shape: readonly number[] };
}

const FLOAT = 1;
const INT64 = 7;
const INT_ATTRIBUTE = 2;
const INTS_ATTRIBUTE = 7;

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

const number = (field: number, value: number): Buffer =>
  Buffer.from([...varint(field * 8), ...varint(value)]);

function bytes(field: number, content: Uint8Array | string): Buffer {
  const data = typeof content === 'string' ? Buffer.from(content) : content;
  return Buffer.concat([Buffer.from([...varint(field * 8 + 2), ...varint(data.length)]), data]);
}

const message = (field: number, ...parts: Buffer[]): Buffer => bytes(field, Buffer.concat(parts));

function constant({ name, shape, values }: OnnxConstant): Buffer {
  const type = values instanceof Float32Array ? FLOAT : INT64;
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return message(5, ...shape.map((n) => number(1, n)), number(2, type), bytes(8, name), bytes(9, raw));
}

function node({ op, inputs, outputs, attributes = {}, lists = {}, domain = '' }: OnnxNode): Buffer {
  return message(
    1,
    ...inputs.map((name) => bytes(1, name)),
    ...outputs.map((name) => bytes(2, name)),
    bytes(3, outputs[0] ?? op),
    bytes(4, op),
    ...Object.entries(attributes).map(([name, value]) =>
      message(5, bytes(1, name), number(3, value), number(20, INT_ATTRIBUTE)),
    ),
    ...Object.entries(lists).map(([name, values]) =>
      message(5, bytes(1, name), ...values.map((value) => number(8, value)), number(20, INTS_ATTRIBUTE)),
    ),
    ...(domain ? [bytes(7, domain)] : []),
  );
}

function output({ name, shape }: OnnxGraph['output']): Buffer {
  const dimensions = shape.map((n) => message(1, number(1, n)));
  const tensor = message(1, number(1, FLOAT), message(2, ...dimensions));
  return message(12, bytes(1, name), message(2, tensor));
}

export function onnxModel(graph: OnnxGraph): Uint8Array {
  const opset = (domain: string, version: number) => message(8, bytes(1, domain), number(2, version));
  return Buffer.concat([
    number(1, 8),
    opset('', 17),
    opset('com.microsoft', 1),
    message(
      7,
      ...graph.nodes.map(node),
      bytes(2, 'bench'),
      ...graph.constants.map(constant),
      output(graph.output),
    ),
  ]);
}
