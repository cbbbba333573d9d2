import { randomUUID } from 'node:crypto'
import { existsSync, renameSync } from 'node:fs'
import { mkdir, open, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Octets } from '../xmpp/octets.ts'

/** Written at once. */
const BUFFER = 256 * 1024

/** There is such a file already. */
export class FileExistsError extends Error {
  override readonly name = 'FileExistsError'
}

/**
 * Writes a file that only its owner may read. It is there under its name once it is complete, and on the
 * disk. Rejects with `FileExistsError`, what the file system says, or the reason of `signal`; then there is
 * none.
 */
export async function writeNewFile(
  file: string,
  content: AsyncIterable<Octets>,
  signal?: AbortSignal,
): Promise<void> {
  ensureNew(file)
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  const partial = `${file}.${randomUUID()}.partial`
  try {
    await using handle = await open(partial, 'wx', 0o600)
    let gathered = ''
    for await (const piece of content) {
      signal?.throwIfAborted()
      gathered += piece
      if (gathered.length < BUFFER) continue
      await handle.writeFile(gathered, 'latin1')
      gathered = ''
    }
    await handle.writeFile(gathered, 'latin1')
    await handle.sync()
    // Another may have come meanwhile; in one go, so that none comes between.
    ensureNew(file)
    renameSync(partial, file)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}

function ensureNew(file: string): void {
  if (existsSync(file)) throw new FileExistsError(`${file} is there already`)
}
