/** Steps of the bench with everything that saves memory. */
import { test } from 'node:test';
import { checkBenchStep } from '../bench-command.js';

const flags = ['--fp16', '--gradient_checkpointing', '--sub_batch_size', '5'];

test(`step on texts of the longest length: ${flags.join(' ')}`, () => checkBenchStep(...flags));
