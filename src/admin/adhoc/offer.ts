/**
 * Administration by forms in a chat client: each command, and those of XEP-0133 under the names that
 * it gives them. Only for accounts that are named in `[admin] jids`.
 */
import { type AdhocAsked, type AdhocCommand, type AdhocStep, badPayload } from '../../core/adhoc.ts'
import type { CommandCall } from '../../core/command.ts'
import { CommandError, type CommandErrorCode } from '../../core/command-error.ts'
import type { Handler } from '../../core/hooks.ts'
import type { Logger } from '../../core/log.ts'
import type { DataForm } from '../../xmpp/data-form.ts'
import type { Jid } from '../../xmpp/jid.ts'
import { type StanzaCondition, StanzaError } from '../../xmpp/stanza-error.ts'
import type { Command } from '../command.ts'
import type { AdminContext } from '../context.ts'
import { give } from '../giving.ts'
import { argsForm, argsOf, completion, resultForms } from './forms.ts'
import { serviceCommands } from './service-administration.ts'

export type AdhocParts = {
  /** Now: modules come and go. */
  commands(): readonly Command[]
  readonly context: AdminContext
  /** Whether somebody may give commands. */
  isAdmin(asked: AdhocAsked): boolean
  readonly log: Logger
}

/** Gives one of the commands in somebody's name; refusals are `StanzaError`s. */
export type Giver = (name: string, args: Readonly<Record<string, unknown>>) => Promise<unknown>

const OWN = 'urn:meerkat:command:'

export function nodeOf(command: string): string {
  return OWN + command.replaceAll(' ', ':')
}

export function offerCommands(parts: AdhocParts): Handler<'adhoc_commands'> {
  return (offered, asking) => {
    const { from, target } = asking
    const isAllowed = parts.isAdmin(asking)
    const commands = parts.commands()
    const giver = giverFor(parts, commands, from)
    const own = commands.map(
      (command): AdhocCommand => ({
        node: nodeOf(command.name),
        name: `${command.description} (${command.name})`,
        isAllowed,
        begin: () => asked(command, giver),
      }),
    )
    const standard = serviceCommands({ giver, domain: target.domain }).map((each) => ({
      ...each,
      isAllowed,
    }))
    return [...offered, ...standard, ...own]
  }
}

/** What needs no arguments is done at once. */
function asked(command: Command, giver: Giver): AdhocStep | Promise<AdhocStep> {
  const finish = async (args: Readonly<Record<string, unknown>>): Promise<AdhocStep> => {
    const result = await giver(command.name, args)
    return completion({ payload: resultForms(command, result) })
  }
  if (Object.keys(command.args.shape).length === 0) return finish({})
  return {
    form: argsForm(command),
    isLast: true,
    submit: (form: DataForm) => finish(argsOf(form, command)),
  }
}

const NOT_ABORTED = new AbortController().signal

function giverFor({ context, log }: AdhocParts, commands: readonly Command[], from: Jid): Giver {
  const call: CommandCall = {
    caller: { name: from.bare, role: 'admin' },
    progress() {},
    signal: NOT_ABORTED,
  }
  return async (name, args) => {
    const command = commands.find((candidate) => candidate.name === name)
    if (command === undefined) throw new StanzaError('service-unavailable')
    try {
      return await give(command, { context, args, call, log })
    } catch (error) {
      throw error instanceof CommandError ? refusalOf(error) : error
    }
  }
}

/** As XEP-0133 §5 has it where it says so. */
const CONDITIONS = {
  forbidden: 'forbidden',
  'not-found': 'item-not-found',
  conflict: 'conflict',
  unavailable: 'service-unavailable',
} as const satisfies Record<Exclude<CommandErrorCode, 'invalid'>, StanzaCondition>

function refusalOf({ code, message }: CommandError): StanzaError {
  if (code === 'invalid') return badPayload(message)
  return new StanzaError(CONDITIONS[code], { text: message })
}
