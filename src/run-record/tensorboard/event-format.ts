/**
 * TensorBoard's event files, as bytes. A file is TFRecords one after the other:
 *   uint64 length, uint32 masked CRC-32C of those 8 bytes, the data, uint32 masked CRC-32C of the data; little-endian.
 * The data is a protobuf message of type Event (tensorboard/compat/proto/event.proto, summary.proto), of whose fields these
 * are written:
 *   Event          1 wall_time double · 2 step int64 · 3 file_version string · 5 summary Summary
 *   Summary        1 value Value, repeated
 *   Value          1 tag string · 2 simple_value float · 8 tensor TensorProto · 9 metadata SummaryMetadata
 *   SummaryMetadata  1 plugin_data PluginData { 1 plugin_name string }
 *   TensorProto    1 dtype (7: string) · 2 tensor_shape { 2 dim { 1 size int64 } } · 8 string_val bytes
 */
import { maskedCrc32c } from './crc32c.js';

export function tfRecord(data: Uint8Array): Uint8Array {
  const record = new Uint8Array(8 + 4 + data.length + 4);
  const view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, maskedCrc32c(record.subarray(0, 8)), true);
  record.set(data, 12);
  view.setUint32(12 + data.length, maskedCrc32c(data), true);
  return record;
}

/** The first event of a file. `wallTime`: in seconds since 1970. */
export function versionEvent(wallTime: number): Uint8Array {
  return message(double(1, wallTime), bytes(3, text('brain.Event:2')));
}

/** Scalars of one step, by their tags; what is not finite is shown as such. */
export function scalarsEvent(
  wallTime: number,
  step: number,
  values: ReadonlyMap<string, number>,
): Uint8Array {
  const all = [...values].map(([tag, value]) => bytes(1, message(bytes(1, text(tag)), float(2, value))));
  return message(double(1, wallTime), varint(2, step), bytes(5, message(...all)));
}

/** A text in Markdown, for the plugin of texts. */
export function textEvent(wallTime: number, step: number, tag: string, markdown: string): Uint8Array {
  const STRING = 7;
  const shape = message(bytes(2, message(varint(1, 1))));
  const tensor = message(varint(1, STRING), bytes(2, shape), bytes(8, text(markdown)));
  const metadata = message(bytes(1, message(bytes(1, text('text')))));
  const value = message(bytes(1, text(`${tag}/text_summary`)), bytes(8, tensor), bytes(9, metadata));
  return message(double(1, wallTime), varint(2, step), bytes(5, message(bytes(1, value))));
}

// ---- protobuf's wire format ----

type Field = readonly number[] | Uint8Array;

const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

const key = (field: number, wire: number): number => (field << 3) | wire;

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function message(...fields: Field[]): Uint8Array {
  const whole = new Uint8Array(fields.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const field of fields) {
    whole.set(field, at);
    at += field.length;
  }
  return whole;
}

/** Seven bits a byte, the lowest first. */
function unsigned(value: number): number[] {
  const groups: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) groups.push((rest % 0x80) | 0x80);
  return [...groups, rest];
}

function varint(field: number, value: number): Field {
  return [key(field, WIRE.varint), ...unsigned(value)];
}

function bytes(field: number, value: Uint8Array): Field {
  return message([key(field, WIRE.bytes), ...unsigned(value.length)], value);
}

function double(field: number, value: number): Field {
  const data = new DataView(new ArrayBuffer(8));
  data.setFloat64(0, value, true);
  return message([key(field, WIRE.fixed64)], new Uint8Array(data.buffer));
}

function float(field: number, value: number): Field {
  const data = new DataView(new ArrayBuffer(4));
  data.setFloat32(0, value, true);
  return message([key(field, WIRE.fixed32)], new Uint8Array(data.buffer));
}
