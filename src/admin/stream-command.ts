/**
 * A command that follows something: it yields items until whoever gave it has seen enough. Declared
 * once like the others; the command line prints the items, the control socket sends them as lines,
 * and HTTP can serve the same declaration as server-sent events.
 */
import type { z } from 'zod'
import { checkedArgs, type Permission, subjectsOf } from '../core/command.ts'
import type { AdminContext } from './context.ts'

/** How text is marked for people who read it on a terminal. Without one: not at all. */
export type Paint = (style: 'bold' | 'dim' | 'red' | 'green' | 'yellow', text: string) => string

export const plain: Paint = (_, text) => text

type Declaration<Args extends z.ZodObject, Item extends z.ZodType> = {
  /** As those of a command that answers. */
  readonly name: string
  readonly description: string
  readonly permission: Permission
  /** Where some arguments ask for more than `permission`. */
  permissionFor?(args: z.output<Args>): Permission
  readonly args: Args
  readonly positional: readonly (keyof z.input<Args> & string)[]
  readonly examples: readonly string[]
  /** Plain values: each item travels as JSON. */
  readonly item: Item
  /** An item for people to read. */
  text(item: z.output<Item>, paint: Paint): string
  /**
   * Begins, with the returned promise at the latest: what happens from then on is among the items. Ends
   * once `signal` is aborted. Items wait for a slow reader, so whoever makes them bounds how many, and
   * tells in an item of its own what was left out. Throws CommandError.
   */
  open(
    context: AdminContext,
    args: z.output<Args>,
    signal: AbortSignal,
  ): Promise<AsyncIterable<z.input<Item>>>
}

/** A declaration whose faces need not know its types. It always needs a running server. */
export interface StreamCommand
  extends Omit<
    Declaration<z.ZodObject, z.ZodType>,
    'positional' | 'text' | 'open' | 'permissionFor'
  > {
  readonly positional: readonly string[]
  /** Arguments that say whose domain it is about. */
  readonly subjects: readonly string[]
  /** With arguments that were checked. */
  permissionFor(args: Readonly<Record<string, unknown>>): Permission
  /** Throws CommandError `invalid`, naming everything that is wrong with the arguments. */
  check(args: unknown): void
  /** Checks the arguments, then begins. Throws CommandError. */
  open(context: AdminContext, args: unknown, signal: AbortSignal): Promise<AsyncIterable<unknown>>
  /** Of an item as it came over the wire. */
  text(item: unknown, paint: Paint): string
}

export function defineStream<Args extends z.ZodObject, Item extends z.ZodType>(
  declaration: Declaration<Args, Item>,
): StreamCommand {
  const { args: schema, item } = declaration
  return {
    ...declaration,
    subjects: subjectsOf(schema),
    permissionFor: (args) =>
      declaration.permissionFor?.(args as z.output<Args>) ?? declaration.permission,
    check: (args) => void checkedArgs(schema, args),
    open: async (context, args, signal) =>
      declaration.open(context, checkedArgs(schema, args), signal),
    text: (value, paint) => declaration.text(item.parse(value), paint),
  }
}
