import { z } from 'zod'
import { table } from '../../core/command-text.ts'
import { type Command, defineCommand } from '../command.ts'

export interface AdminHooks {
  /** Every handler, those of one hook in the order in which they run. */
  readonly all: readonly AdminHandler[]
}

export type AdminHandler = {
  readonly hook: string
  readonly by: string
  readonly order: number
  readonly onError: 'stop' | 'skip'
  readonly runs: number
  readonly failures: number
}

const listHooks = defineCommand({
  name: 'hook list',
  description: 'List the handlers of hooks in their order, how often they ran and failed',
  permission: 'server:read',
  needsServer: false,
  args: z.strictObject({ name: z.string().optional().describe('Only of this hook.') }),
  positional: ['name'],
  examples: ['', 'user_send_message'],
  result: z.strictObject({
    handlers: z.array(
      z.strictObject({
        hook: z.string(),
        by: z.string().describe('Who has registered it.'),
        order: z.number(),
        on_error: z.enum(['stop', 'skip']).describe('What an exception in it does.'),
        runs: z.int(),
        failures: z.int(),
      }),
    ),
  }),
  text: ({ handlers }) =>
    table(
      handlers.map(({ hook, order, by, runs, failures }) => [
        hook,
        String(order),
        by,
        `${runs} runs`,
        `${failures} failed`,
      ]),
    ) || 'no handlers',
  async run({ hooks }, { name }) {
    const meant = hooks.all.filter(({ hook }) => name === undefined || hook === name)
    return {
      handlers: meant.map(({ hook, by, order, onError, runs, failures }) => ({
        hook,
        by,
        order,
        on_error: onError,
        runs,
        failures,
      })),
    }
  },
})

export const hookCommands: readonly Command[] = [listHooks]
