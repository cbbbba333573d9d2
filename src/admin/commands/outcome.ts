import { z } from 'zod'
import { table } from '../../core/command-text.ts'
import type { Fate } from '../../core/outcome.ts'
import { type Command, defineCommand } from '../command.ts'

/** What became of stanzas since the server was started, by who decided. */
export type AdminOutcomes = ReadonlyMap<string, Readonly<Record<Fate, number>>>

const listOutcomes = defineCommand({
  name: 'outcome list',
  description: 'Tell what became of stanzas since the start, and who decided that',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    outcomes: z.array(z.strictObject({ by: z.string(), fate: z.string(), stanzas: z.int() })),
  }),
  text: ({ outcomes }) =>
    table(outcomes.map(({ fate, by, stanzas }) => [fate, by, String(stanzas)])) || 'no stanzas yet',
  async run({ outcomes }) {
    const rows = [...outcomes].flatMap(([by, fates]) =>
      Object.entries(fates).map(([fate, stanzas]) => ({ by, fate, stanzas })),
    )
    return { outcomes: rows.filter(({ stanzas }) => stanzas > 0) }
  },
})

export const outcomeCommands: readonly Command[] = [listOutcomes]
