/** What a process of its own tells: of words without a command, and where it finds no device. */
import type { RefusedCall } from './call.js';

export const frontDoor: readonly RefusedCall[] = [
  { words: '--fp16', line: 'expected a command before any flag, found "--fp16"' },
  {
    words: 'finetunes',
    line: /^unknown command "finetunes"; the nearest is finetune; the commands are finetune, report, encode, /,
  },
  {
    words: 'encode --model_name_or_path MODEL --output out.jsonl a.txt',
    files: { 'a.txt': 'x\n' },
    env: { VK_DRIVER_FILES: 'none.json', DAWNTUNE_SOFTWARE: '' },
    line: 'no WebGPU adapter found (only VK_DRIVER_FILES=none.json, set by hand); unset VK_DRIVER_FILES or correct it',
    status: 1,
    systems: ['linux'],
  },
];
