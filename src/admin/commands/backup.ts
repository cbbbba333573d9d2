import { z } from 'zod'
import type { CommandCall } from '../../core/command.ts'
import { counted, table } from '../../core/command-text.ts'
import { type Command, defineCommand } from '../command.ts'
import { type Place, placeOf } from './data.ts'

/** A file with all that a server keeps. */
export type SavedFile = {
  readonly file: string
  readonly tables: readonly { readonly table: string; readonly rows: number }[]
}

/** Rejects with `CommandError`. */
export interface AdminBackup {
  /** Writes everything the server keeps into a new file, one at a time. */
  backUp(target: Place, call: Pick<CommandCall, 'progress' | 'signal'>): Promise<SavedFile>
}

const backup = defineCommand({
  name: 'backup',
  description: 'Write everything the server keeps into a file, while it runs or not',
  permission: 'server:write',
  needsServer: false,
  args: z.strictObject({
    target: z
      .string()
      .min(1)
      .max(4_096)
      .describe(
        'A file that is not there yet, or a directory for it. Over HTTP and from a chat client: a plain name, in `transfer` below the data directory of the server.',
      ),
  }),
  positional: ['target'],
  path: 'target',
  examples: ['/var/backups/meerkat', 'before.db'],
  result: z.strictObject({
    file: z.string(),
    rows: z.int(),
    tables: z.array(z.strictObject({ table: z.string(), rows: z.int() })),
  }),
  text: ({ file, rows, tables }) =>
    `${table(tables.map((each) => [each.table, String(each.rows)]))}\n` +
    `${file} is complete: ${counted(rows, 'row')}, counted on both sides.`,
  async run({ backups }, { target }, call) {
    return backupResult(await backups.backUp(placeOf(target, call), call))
  },
})

export function backupResult({ file, tables }: SavedFile) {
  const rows = tables.reduce((sum, each) => sum + each.rows, 0)
  return { file, rows, tables: tables.map((each) => ({ table: each.table, rows: each.rows })) }
}

export const backupCommands: readonly Command[] = [backup]
