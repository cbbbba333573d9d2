/** Commands about the server itself: a declaration, and what it does to the server. */
import type { z } from 'zod'
import {
  type CommandCall,
  carryOut,
  type Declaration,
  type DeclaredCommand,
  declareCommand,
  UNWATCHED,
} from '../core/command.ts'
import type { AdminContext } from './context.ts'

export { CommandError, type CommandErrorCode, type Permission } from '../core/command.ts'

/** What every face works with. */
export interface Command extends DeclaredCommand {
  /** Checks the arguments, then runs. Throws CommandError. */
  run(context: AdminContext, args: unknown, call?: CommandCall): Promise<unknown>
}

type Definition<Args extends z.ZodObject, Result extends z.ZodType> = Declaration<Args, Result> & {
  /** Throws CommandError. */
  run(context: AdminContext, args: z.output<Args>, call: CommandCall): Promise<z.input<Result>>
}

export function defineCommand<Args extends z.ZodObject, Result extends z.ZodType>({
  run,
  ...declaration
}: Definition<Args, Result>): Command {
  const declared = declareCommand<Args, Result>(declaration as Declaration<Args, Result>)
  return {
    ...declared,
    run: (context, args, call = UNWATCHED) =>
      carryOut(declared, (checked) => run(context, checked, call), { args, call }),
  }
}

/** A command that a module declares, and carries out while it is loaded. */
export function moduleCommand(declared: DeclaredCommand): Command {
  return {
    ...declared,
    run: ({ modules }, args, call = UNWATCHED) => modules.run(declared.name, args, call),
  }
}
