import { z } from 'zod'
import { counted } from '../../core/command-text.ts'
import { type Command, CommandError, defineCommand } from '../command.ts'

/** Reads the configuration again. Throws CommandError for one that cannot be had. */
export type Reload = (options: { readonly isDry: boolean }) => Promise<{
  readonly changes: readonly Change[]
  readonly warnings: readonly string[]
}>

type Change = {
  readonly key: string
  readonly before?: string | undefined
  readonly after?: string | undefined
  readonly needsRestart: boolean
}

const reload = defineCommand({
  name: 'reload',
  description: 'Apply what has changed in the configuration file, and in the files it names',
  permission: 'server:write',
  needsServer: true,
  args: z.strictObject({
    dry_run: z.boolean().optional().describe('Only tell what would change.'),
  }),
  positional: [],
  examples: ['--dry-run', ''],
  result: z.strictObject({
    is_applied: z.boolean(),
    changes: z.array(
      z.strictObject({
        key: z.string(),
        before: z
          .string()
          .nullable()
          .describe('As written in the file; null where it was not there.'),
        after: z.string().nullable(),
        needs_restart: z.boolean(),
      }),
    ),
    warnings: z.array(z.string()),
  }),
  text: ({ is_applied, changes, warnings }) => {
    const lines = warnings.map((warning) => `warning: ${warning}`)
    for (const { key, before, after, needs_restart } of changes) {
      const note = needs_restart ? ' (needs a restart)' : ''
      if (before === null) lines.push(`+ ${key} = ${after}${note}`)
      else if (after === null) lines.push(`- ${key} = ${before}${note}`)
      else lines.push(`~ ${key} = ${before} -> ${after}${note}`)
    }
    const number = changes.length === 0 ? 'nothing has changed' : counted(changes.length, 'change')
    const fixed = changes.some(({ needs_restart }) => needs_restart)
    if (is_applied) lines.push(`${number}; in force`)
    else if (fixed) lines.push(`${number}; refused while the server runs`)
    else lines.push(`${number}; not applied`)
    return lines.join('\n')
  },
  async run(context, { dry_run: isDry = false }) {
    if (!context.reload) throw new CommandError('unavailable', 'the server does not run')
    const { changes, warnings } = await context.reload({ isDry })
    return {
      is_applied: !isDry,
      changes: changes.map(({ key, before = null, after = null, needsRestart }) => ({
        key,
        before,
        after,
        needs_restart: needsRestart,
      })),
      warnings: [...warnings],
    }
  },
})

export const reloadCommands: readonly Command[] = [reload]
