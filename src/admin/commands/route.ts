import { z } from 'zod'
import { table } from '../../core/command-text.ts'
import type { Stage } from '../../core/stages.ts'
import { type Command, defineCommand } from '../command.ts'

/** Stages of the route, in the order in which a message passes them. */
export interface AdminStages {
  readonly all: readonly Stage[]
}

const listStages = defineCommand({
  name: 'route list',
  description: 'List the stages of the route, and how many stanzas came to each since the start',
  permission: 'server:read',
  needsServer: true,
  args: z.strictObject({}),
  positional: [],
  examples: [''],
  result: z.strictObject({
    stages: z.array(
      z.strictObject({
        name: z.string(),
        stanzas: z.int(),
        timed: z.int().describe('How many of them were timed: those that somebody follows.'),
        mean_ms: z
          .number()
          .nullable()
          .describe('What these took on average, with all that came behind this stage.'),
      }),
    ),
  }),
  text: ({ stages }) =>
    table(
      stages.map(({ name, stanzas, mean_ms }) => [
        name,
        `${stanzas} stanzas`,
        mean_ms === null ? '' : `${mean_ms} ms`,
      ]),
    ),
  async run({ stages }) {
    return {
      stages: stages.all.map(({ name, stanzas, timed, milliseconds }) => ({
        name,
        stanzas,
        timed,
        mean_ms: timed === 0 ? null : Math.round((milliseconds / timed) * 1000) / 1000,
      })),
    }
  },
})

export const routeCommands: readonly Command[] = [listStages]
