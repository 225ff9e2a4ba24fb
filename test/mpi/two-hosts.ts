/**
 * Two network namespaces as two hosts: each has a network interface, an address and a host name of its own, and the
 * launcher reaches the second one through a program that stands for ssh. What they do not have of their own is files.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { MpiInstallation } from '../../src/setup/mpi.js';
import { atExit } from '../at-exit.js';

export interface TwoHosts {
  /** Runs the launcher on the first host with one rank on each. */
  words(installation: MpiInstallation): string[];
  /** A program that runs the launcher's words on the first host. */
  readonly first: string;
  /** For temporary files of both: what a launcher leaves there when the network goes is removed with the hosts. */
  readonly folder: string;
  /** Takes the network between them away, for good. */
  cut(): void;
  remove(): void;
}

const ADDRESSES = ['10.77.0.1', '10.77.0.2'] as const;

let made = 0;

/** @returns why there are none on this machine, where namespaces are not allowed. */
export function twoHosts(): TwoHosts | string {
  if (process.platform !== 'linux') return `network namespaces need Linux, and this is ${process.platform}`;
  const pair = `${process.pid}-${made++}`;
  const names = [0, 1].map((each) => `dawntune${pair}-${each}`) as [string, string];
  const links = [0, 1].map((each) => `dt${pair}-${each}`) as [string, string];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'dawntune-hosts-'));
  const remove = atExit(() => {
    for (const name of names) {
      // The launcher's daemon on a host that was cut off does not know that the run is over.
      const pids = spawnSync('ip', ['netns', 'pids', name], { encoding: 'utf8' }).stdout ?? '';
      for (const pid of pids.split(/\s+/).filter(Boolean)) process.kill(Number(pid), 'SIGKILL');
    }
    for (const name of names) spawnSync('ip', ['netns', 'del', name]);
    fs.rmSync(folder, { recursive: true, force: true });
  });
  const steps = [
    ['netns', 'add', names[0]],
    ['netns', 'add', names[1]],
    ['link', 'add', links[0], 'netns', names[0], 'type', 'veth', 'peer', 'name', links[1], 'netns', names[1]],
    ...names.flatMap((name, i) => [
      ['-n', name, 'addr', 'add', `${ADDRESSES[i]}/24`, 'dev', links[i]!],
      ['-n', name, 'link', 'set', 'lo', 'up'],
      ['-n', name, 'link', 'set', links[i]!, 'up'],
    ]),
  ];
  for (const step of steps) {
    const { status, stderr, error } = spawnSync('ip', step, { encoding: 'utf8' });
    if (status === 0) continue;
    remove();
    return `ip ${step.slice(0, 2).join(' ')}: ${error?.message ?? stderr.trim()}`;
  }
  const program = (name: string, body: string) => {
    const file = path.join(folder, name);
    fs.writeFileSync(file, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return file;
  };
  const enter = (host: number) => `exec ip netns exec ${names[host]} unshare -u sh -c`;
  // As ssh: options, the host, then words that a shell reads.
  const agent = program(
    'agent',
    `while [ "\${1#-}" != "$1" ]; do shift; done\nshift\n${enter(1)} "hostname second; $*"`,
  );
  return {
    folder,
    first: program('first', `${enter(0)} 'hostname first; exec "$@"' sh "$@"`),
    words({ name }) {
      if (name === 'MPICH')
        return [
          '-launcher',
          'ssh',
          '-launcher-exec',
          agent,
          '-hosts',
          ADDRESSES.join(','),
          '-ppn',
          '1',
          '-n',
          '2',
        ];
      const hosts = ADDRESSES.map((address) => `${address}:1`).join(',');
      const settings: Record<string, string> = {
        plm_rsh_agent: agent,
        // mpirun takes minutes to see that a host is cut off, if it is not told to look sooner.
        oob_tcp_keepalive_time: '2',
        oob_tcp_keepalive_intvl: '2',
        oob_tcp_keepalive_probes: '2',
      };
      return [
        ...['--allow-run-as-root', '--bind-to', 'none', '--host', hosts, '-np', '2'],
        ...Object.entries(settings).flatMap(([name, value]) => ['--mca', name, value]),
      ];
    },
    cut: () => void spawnSync('ip', ['-n', names[0], 'link', 'set', links[0], 'down']),
    remove,
  };
}
