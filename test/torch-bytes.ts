/** PyTorch files made by hand, right and wrong: pickles in the frames that `torch.save` puts around them. */

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const raw = (value: string): Buffer => Buffer.from(value, 'latin1');
const text = (value: string): Buffer => {
  const bytes = Buffer.from(value);
  return Buffer.concat([raw('X'), u32(bytes.length), bytes]);
};
/** BININT, or LONG1 beyond 32 bits. */
const integer = (value: number): Buffer => {
  const small = Math.abs(value) < 2 ** 31;
  const bytes = Buffer.alloc(small ? 5 : 10);
  bytes.write(small ? 'J' : '\x8a\x08', 'latin1');
  if (small) bytes.writeInt32LE(value, 1);
  else bytes.writeBigInt64LE(BigInt(value), 2);
  return bytes;
};
const tuple = (...items: Uint8Array[]): Buffer => Buffer.concat([raw('('), ...items, raw('t')]);

export const pickled = { u32, raw, text, integer, tuple };

export interface PickledTensor {
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];
  /** The storage is a view: its first element and how many it has. */
  readonly view?: readonly [start: number, count: number];
}

/** A tensor over storage "0", said to have `count` floats. */
export function tensorPickle(count: number, { offset, shape, strides, view }: PickledTensor): Buffer {
  const storage = tuple(
    text('storage'),
    raw('ctorch\nFloatStorage\n'),
    text('0'),
    text('cpu'),
    integer(count),
    ...(view ? [tuple(text('view'), ...view.map(integer))] : []),
  );
  return Buffer.concat([
    raw('ctorch._utils\n_rebuild_tensor_v2\n'),
    tuple(
      Buffer.concat([storage, raw('Q')]),
      integer(offset),
      tuple(...shape.map(integer)),
      tuple(...strides.map(integer)),
      raw('\x89'),
      raw('ccollections\nOrderedDict\n)R'),
    ),
    raw('R'),
  ]);
}

type Content = Uint8Array | readonly (readonly [name: string, value: Uint8Array])[];

function objectPickle(content: Content): Buffer {
  if (content instanceof Uint8Array) return Buffer.concat([raw('\x80\x02'), content, raw('.')]);
  const items = content.map(([name, value]) => Buffer.concat([text(name), value]));
  return Buffer.concat([raw('\x80\x02}('), ...items, raw('u.')]);
}

/** A zip of stored records. */
export function zipOf(records: readonly (readonly [name: string, content: Uint8Array])[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const [name, content] of records) {
    const local = Buffer.alloc(30 + name.length);
    local.writeUInt32LE(0x04034b50);
    local.writeUInt16LE(name.length, 26);
    local.write(name, 30, 'latin1');
    parts.push(local, Buffer.from(content));
    const central = Buffer.alloc(46 + name.length);
    central.writeUInt32LE(0x02014b50);
    central.writeUInt32LE(content.length, 20);
    central.writeUInt32LE(content.length, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(at, 42);
    central.write(name, 46, 'latin1');
    directory.push(central);
    at += local.length + content.length;
  }
  const size = directory.reduce((sum, entry) => sum + entry.length, 0);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(records.length, 8);
  end.writeUInt16LE(records.length, 10);
  end.writeUInt32LE(size, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, ...directory, end]);
}

/** As PyTorch writes since 1.6; storage "0" has `count` floats. */
export function zipTorchFile(content: Content, count: number): Buffer {
  return zipOf([
    ['archive/data.pkl', objectPickle(content)],
    ['archive/byteorder', raw('little')],
    ['archive/data/0', new Uint8Array(count * 4)],
    ['archive/version', raw('3\n')],
  ]);
}

/** As before 1.6. */
export function legacyTorchFile(content: Content, count: number): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigInt64LE(BigInt(count));
  return Buffer.concat([
    raw('\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.'),
    raw('\x80\x02M\xe9\x03.'),
    raw('\x80\x02}'),
    text('little_endian'),
    raw('\x88s.'),
    objectPickle(content),
    raw('\x80\x02]'),
    text('0'),
    raw('a.'),
    length,
    Buffer.alloc(count * 4),
  ]);
}
