import { execFileSync } from 'node:child_process'

/** Small enough for every write to a log to pass it, in bytes. */
const FULL = 4_096

export const canFill = (() => {
  try {
    execFileSync('prlimit', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

/** The disk takes no more from this process. The returned function makes room. */
export function fillDisk(pid: number): () => void {
  limitFiles(pid, `${FULL}`)
  return () => limitFiles(pid, 'unlimited')
}

/** Only the soft limit, so that it can be raised again. Node ignores the signal. */
function limitFiles(pid: number, limit: string): void {
  try {
    execFileSync('prlimit', ['--pid', `${pid}`, `--fsize=${limit}:unlimited`], { stdio: 'ignore' })
  } catch {
    // It has ended meanwhile.
  }
}
