/** The plan of a run is an upper bound of what it takes, on data made to break it. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { checkShape, memoryShapes } from '../memory-shapes.js';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-bound-'));
after(() => fs.rmSync(folder, { recursive: true, force: true }));

for (const shape of memoryShapes.slice(3)) test(shape[0], () => checkShape(shape, folder));
