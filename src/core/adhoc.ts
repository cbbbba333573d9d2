/** Commands that chat clients give with forms (XEP-0050), as those offer them who carry them out. */
import type { DataForm } from '../xmpp/data-form.ts'
import type { Jid } from '../xmpp/jid.ts'
import { StanzaError } from '../xmpp/stanza-error.ts'
import { type Element, el } from '../xmpp/xml.ts'
import type { Session } from './session.ts'

export const COMMANDS_NS = 'http://jabber.org/protocol/commands'

/** Offered to one requester at one address. */
export interface AdhocCommand {
  /** Unique at the address. */
  readonly node: string
  readonly name: string
  /** Whether this requester may give it; others are told `forbidden`, and it is not listed. */
  readonly isAllowed: boolean
  /** Begins. Throws or rejects with `StanzaError` to refuse. */
  begin(): AdhocStep | Promise<AdhocStep>
}

export type AdhocNote = { readonly type: 'info' | 'warn' | 'error'; readonly text: string }

/** What the requester gets to see next. */
export type AdhocStep = AdhocStage | AdhocCompletion

/** A form to be filled in. */
export interface AdhocStage {
  readonly form: Element
  readonly notes?: readonly AdhocNote[]
  /** Nothing but the result comes after it. */
  readonly isLast: boolean
  /**
   * Goes on with the form as it was filled in. A refusal with `bad-payload` (see `badPayload`) lets the
   * requester try again; any other ends the command.
   */
  submit(form: DataForm): AdhocStep | Promise<AdhocStep>
}

export interface AdhocCompletion {
  readonly payload: readonly Element[]
  readonly notes?: readonly AdhocNote[]
}

export function isStage(step: AdhocStep): step is AdhocStage {
  return 'submit' in step
}

/** The form cannot be meant: the requester may send it once more (XEP-0050 §4.5). */
export function badPayload(text: string): StanzaError {
  const detail = el('bad-payload', { xmlns: COMMANDS_NS })
  return new StanzaError('bad-request', { text, detail })
}

export type AdhocAsked = {
  readonly from: Jid
  /** A hosted domain. */
  readonly target: Jid
  /**
   * Of the requester, when it is a client of this node itself. Without it somebody else may speak for
   * it: a component that is trusted with that, or a server.
   */
  readonly session?: Session | undefined
}
