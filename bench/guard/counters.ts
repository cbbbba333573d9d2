import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

/** What is left out, for it depends on the machine and its load: threads that meet, and memory. */
const NOT_COUNTED = new Set([
  ...['futex', 'sched_yield', 'restart_syscall', 'tgkill', 'rt_sigreturn', 'total'],
  ...['mmap', 'munmap', 'mprotect', 'madvise', 'mremap', 'brk'],
])

/** How many calls the process made that wrote to files and sockets; Linux counts them by itself. */
export function writesOf(pid: number): number {
  const line = /^syscw: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))
  return Number(line?.[1])
}

/** Milliseconds. */
const COMES_BACK = 5
const isInstalled = spawnSync('strace', ['--version'], { stdio: 'ignore' }).status === 0

/**
 * The system calls of a process and its threads while `act` runs; the name of each, and how many.
 * Undefined where strace is not installed, or may not attach to other processes.
 */
export async function systemCalls(
  pid: number,
  act: () => Promise<void>,
): Promise<ReadonlyMap<string, number> | undefined> {
  if (!isInstalled) return undefined
  const directory = mkdtempSync(join(os.tmpdir(), 'meerkat-strace-'))
  const file = join(directory, 'calls')
  try {
    const options = ['-f', '-c', '-U', 'name,calls', '-o', file, '-p', String(pid)]
    const strace = spawn('strace', options, { stdio: ['ignore', 'ignore', 'pipe'] })
    const ended = once(strace, 'exit')
    strace.stderr.setEncoding('utf8')
    // It says so when it has stopped the last thread, or why it could not.
    const [said] = await once(strace.stderr, 'data')
    if (!said.includes('attached')) return undefined
    await act()
    // A call is counted when it comes back: what it does can be seen before.
    await setTimeout(COMES_BACK)
    strace.kill('SIGINT')
    await ended
    return callsIn(readFileSync(file, 'utf8'))
  } finally {
    rmSync(directory, { recursive: true })
  }
}

/** Of the table that `strace -c -U name,calls` writes. */
export function callsIn(table: string): ReadonlyMap<string, number> {
  const rows = table.matchAll(/^\s*(\w+)\s+(\d+)\s*$/gm)
  return new Map([...rows].map(([, name = '', calls]) => [name, Number(calls)]))
}

export function countedIn(calls: ReadonlyMap<string, number>): number {
  return [...calls].reduce((sum, [name, n]) => (NOT_COUNTED.has(name) ? sum : sum + n), 0)
}
