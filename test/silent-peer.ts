/** A transport for carriers.test.ts: rank 0, beside a rank 1 that answers until it is to close, and then gives no sign of life. */
import type { Transport, Watch } from '../src/ranks/transport.js';

/** `data`: a cell for what rank 0 last said of its beats. */
export function openTransport(data: unknown, watch: Watch): Transport {
  const told = data as Int32Array;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  return {
    rank: 0,
    size: 2,
    allToAll: (send, receive) => receive.forEach((bytes, rank) => void bytes.set(send[rank]!)),
    allGather: (send, receive) => receive.forEach((bytes) => void bytes.set(send)),
    barrier() {},
    beats(own) {
      Atomics.store(told, 0, own);
      return [own, 1];
    },
    abort() {},
    close() {
      for (;;) {
        watch.look((rank) => rank === 1);
        Atomics.wait(pause, 0, 0, 10);
      }
    },
  };
}
