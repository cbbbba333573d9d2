import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * SIGSTOP. Resolves when the process does nothing any more, which is a moment after it was told: one of its
 * threads has to wake up to tell the others.
 */
export async function pause(pid: number): Promise<void> {
  process.kill(pid, 'SIGSTOP')
  const threads = `/proc/${pid}/task`
  const isStopped = (thread: string) =>
    readFileSync(join(threads, thread, 'stat'), 'latin1').includes(') T ')
  while (!readdirSync(threads).every(isStopped)) await sleep(1)
}
