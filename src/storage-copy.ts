/** `meerkat storage copy`: from one database to another, while no server uses either. */
import type { LoadedConfig } from './config.ts'
import type { Progress } from './core/command.ts'
import { allMigrations } from './server/migrations.ts'
import { type Copied, copyStorage } from './storage/copy.ts'
import { nameOf, openStorage } from './storage/open.ts'

type Options = {
  /** URLs as in the configuration; relative paths start at the working directory. */
  readonly from: string
  readonly to: string
  /** Whose modules have data, too. */
  readonly loaded: LoadedConfig
  readonly onProgress: (progress: Progress) => void
}

/** Resolves to what was copied. Throws errors that say what is in the way. */
export async function moveStorage(options: Options): Promise<readonly Copied[]> {
  const { from, to, loaded, onProgress } = options
  const migrations = await allMigrations(loaded)
  await using source = await openStorage(from, { isExclusive: true, mustExist: true })
  await using target = await openStorage(to, { isExclusive: true })
  const parts = { from: source, to: target, source: nameOf(from) }
  return await copyStorage({ ...parts, migrations, onProgress })
}

/** A table of what was copied, and counted once more. */
export function copiedText(copied: readonly Copied[]): string {
  const width = Math.max(...copied.map(({ table }) => table.length))
  const lines = copied.map(({ table, rows }) => `${table.padEnd(width)}  ${rows}`)
  return [...lines, 'Everything was copied, and counted on both sides.'].join('\n')
}
