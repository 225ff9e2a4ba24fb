/** Problems of Node and of Dawn, without which there are no adapters to look for. */
import { older } from '../../version.js';
import { foundOf } from '../facts.js';
import { everywhere, installNode } from '../fixes.js';
import { type Rule, stops } from './rule.js';

export const programRules = {
  'node-too-old': ({ facts: { node } }) =>
    older(node.version, node.least)
      ? stops(
          `Node ${node.version} is too old: ${node.least} or newer is needed`,
          'install a newer Node',
          installNode,
        )
      : null,

  'no-dawn-for-platform': ({ facts, system }) =>
    foundOf(facts.dawn)?.binary === null
      ? stops(
          `Dawn has no library for ${system?.platform ?? process.platform} on ${system?.arch ?? process.arch}`,
          'use Linux or Windows on x64 or arm64, or macOS; where it is one of those, install the packages anew',
          everywhere('npm install --force webgpu'),
        )
      : null,

  musl: ({ system }) =>
    system?.libc === 'musl'
      ? stops(
          `${system.name} has musl as its C library, and Dawn’s library is built for glibc`,
          'use an image or a system with glibc',
          everywhere('docker run --rm -it -v "$PWD:/work" -w /work node:22-bookworm npx dawntune doctor'),
        )
      : null,

  'dawn-does-not-load': ({ facts, system }) => {
    const failed = 'failed' in facts.dawn ? facts.dawn.failed : facts.dawn.found.problem;
    if (failed === null || system?.libc === 'musl' || foundOf(facts.dawn)?.binary === null) return null;
    const old = /GLIBC(XX)?_[\d.]+/.exec(failed);
    return old
      ? stops(
          `Dawn’s library asks for ${old[0]}, which this system has not: ${failed}`,
          'use a newer release of the system, or an image of one',
          everywhere('docker run --rm -it -v "$PWD:/work" -w /work node:22-bookworm npx dawntune doctor'),
        )
      : stops(
          `Dawn does not load: ${failed}`,
          'install the packages anew; what a message names as missing comes from the system’s own packages',
          everywhere('npm install --force webgpu'),
        );
  },
} satisfies Record<string, Rule>;
