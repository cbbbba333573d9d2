import { type AdhocNote, type AdhocStep, COMMANDS_NS, isStage } from '../../core/adhoc.ts'
import { type StanzaCondition, StanzaError } from '../../xmpp/stanza-error.ts'
import { type Element, el } from '../../xmpp/xml.ts'

/** What a requester asks for (XEP-0050 §4.3). */
export const ACTIONS = ['execute', 'cancel', 'prev', 'next', 'complete'] as const
export type Action = (typeof ACTIONS)[number]

type Specific = 'malformed-action' | 'bad-action' | 'bad-sessionid' | 'session-expired'

/** XEP-0050 §4.5: a general condition and a specific one. */
export function refusal(specific: Specific, text: string): StanzaError {
  const condition: StanzaCondition = specific === 'session-expired' ? 'not-allowed' : 'bad-request'
  return new StanzaError(condition, { text, detail: el(specific, { xmlns: COMMANDS_NS }) })
}

/** Throws `malformed-action` for one that nobody knows. */
export function actionOf(command: Element): Action {
  const text = command.attr('action') ?? 'execute'
  const action = ACTIONS.find((known) => known === text)
  if (action === undefined) throw refusal('malformed-action', `there is no action "${text}"`)
  return action
}

export type Shown = { readonly node: string; readonly sessionid: string }

/** A stage or the end, as the requester gets it. */
export function stepElement({ node, sessionid }: Shown, step: AdhocStep, hasPrevious: boolean) {
  const { notes = [] } = step
  if (!isStage(step)) {
    const attributes = attributesOf(node, sessionid, 'completed')
    return el('command', attributes, ...step.payload, ...notes.map(noteElement))
  }
  const forward = step.isLast ? 'complete' : 'next'
  const actions = el('actions', { execute: forward }, hasPrevious && el('prev'), el(forward))
  const attributes = attributesOf(node, sessionid, 'executing')
  return el('command', attributes, actions, step.form, ...notes.map(noteElement))
}

export function cancelledElement({ node, sessionid }: Shown): Element {
  return el('command', attributesOf(node, sessionid, 'canceled'))
}

function attributesOf(node: string, sessionid: string, status: string) {
  return { xmlns: COMMANDS_NS, node, sessionid, status, 'xml:lang': 'en' }
}

function noteElement({ type, text }: AdhocNote): Element {
  return el('note', { type }, text)
}
