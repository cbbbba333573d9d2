import type { CommandCall } from '../core/command.ts'
import type { Logger } from '../core/log.ts'
import type { Command } from './command.ts'
import type { AdminContext } from './context.ts'

export type Giving = {
  readonly context: AdminContext
  readonly args: unknown
  readonly call: CommandCall
  readonly log: Logger
}

/**
 * Carries a command out for somebody who is not at the server's machine, and notes who gave it, with
 * whom it was about and nothing else: other arguments may be secrets. Throws CommandError.
 */
export async function give(
  command: Command,
  { context, args, call, log }: Giving,
): Promise<unknown> {
  const about = subjectsIn(command, args)
  const fields = { command: command.name, by: call.caller.name, ...about }
  try {
    const result = await command.run(context, args, call)
    if (!command.permission.endsWith(':read')) log.info('admin_command', fields)
    return result
  } catch (error) {
    log.info('admin_command_refused', { ...fields, reason: codeOf(error) })
    throw error
  }
}

function subjectsIn({ subjects }: Command, args: unknown): Record<string, string> {
  const given = Object(args) as Record<string, unknown>
  const named = subjects.flatMap((subject) => {
    const value = given[subject]
    return typeof value === 'string' ? [[subject, value.slice(0, 3_100)] as const] : []
  })
  return Object.fromEntries(named)
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'failed'
}
