/** The longest or every known string that begins somewhere in a text, found in one walk. */

/** Strings to ids over UTF-16 units; the edges are one hash table (linear probing) from (node, unit) to node. */
export class Trie {
  private nodes = 1;
  private edges = 0;
  private ids = new Int32Array(1 << 12).fill(-1);
  private edgeFrom = new Int32Array(1 << 13).fill(-1);
  private edgeUnit = new Uint16Array(1 << 13);
  private edgeTo = new Int32Array(1 << 13);

  set(key: string, id: number): void {
    if (key === '') return;
    let node = 0;
    for (let i = 0; i < key.length; i++) {
      const unit = key.charCodeAt(i);
      const next = this.child(node, unit);
      node = next >= 0 ? next : this.grow(node, unit);
    }
    this.ids[node] = id;
  }

  /** The node where the text ends; −1 when no key begins with it. */
  walk(text: string): number {
    let node = 0;
    for (let i = 0; i < text.length && node >= 0; i++) node = this.child(node, text.charCodeAt(i));
    return node;
  }

  /** −1 when there is none. */
  child(node: number, unit: number): number {
    const { edgeFrom, edgeUnit } = this;
    const slot = this.slot(edgeFrom, edgeUnit, node, unit);
    return edgeFrom[slot]! < 0 ? -1 : this.edgeTo[slot]!;
  }

  /** −1 when no key ends at the node. */
  idAt(node: number): number {
    return this.ids[node]!;
  }

  private slot(edgeFrom: Int32Array, edgeUnit: Uint16Array, node: number, unit: number): number {
    const mask = edgeFrom.length - 1;
    let hash = Math.imul(node, 0x9e3779b1) ^ Math.imul(unit, 0x85ebca6b);
    hash ^= hash >>> 15;
    let slot = hash & mask;
    while (edgeFrom[slot]! >= 0 && (edgeFrom[slot] !== node || edgeUnit[slot] !== unit))
      slot = (slot + 1) & mask;
    return slot;
  }

  private grow(node: number, unit: number): number {
    if (this.edges * 2 >= this.edgeFrom.length) this.enlargeTable();
    const slot = this.slot(this.edgeFrom, this.edgeUnit, node, unit);
    const fresh = this.nodes++;
    this.edges++;
    this.edgeFrom[slot] = node;
    this.edgeUnit[slot] = unit;
    this.edgeTo[slot] = fresh;
    if (fresh >= this.ids.length) {
      const ids = new Int32Array(this.ids.length * 2).fill(-1);
      ids.set(this.ids);
      this.ids = ids;
    }
    return fresh;
  }

  private enlargeTable(): void {
    const { edgeFrom, edgeUnit, edgeTo } = this;
    this.edgeFrom = new Int32Array(edgeFrom.length * 2).fill(-1);
    this.edgeUnit = new Uint16Array(edgeFrom.length * 2);
    this.edgeTo = new Int32Array(edgeFrom.length * 2);
    for (let old = 0; old < edgeFrom.length; old++) {
      if (edgeFrom[old]! < 0) continue;
      const slot = this.slot(this.edgeFrom, this.edgeUnit, edgeFrom[old]!, edgeUnit[old]!);
      this.edgeFrom[slot] = edgeFrom[old]!;
      this.edgeUnit[slot] = edgeUnit[old]!;
      this.edgeTo[slot] = edgeTo[old]!;
    }
  }
}
