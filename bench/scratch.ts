/** What is there for one run alone, and is gone with it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { killEverything } from './server.ts'

/** Whatever ends this process ends what it has launched, too. */
export function endEverythingAtExit(): void {
  process.on('exit', killEverything)
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => process.exit(130))
  }
}

/** A directory for what is launched, which is removed when all that has ended (`endEverythingAtExit`). */
export function scratchDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'meerkat-bench-'))
  endEverythingAtExit()
  process.on('exit', () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }))
  return directory
}
