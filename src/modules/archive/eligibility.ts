import { CLIENT_NS, type Stanza } from '../../xmpp/stanza.ts'

const HINTS_NS = 'urn:xmpp:hints'
const MARKERS_NS = 'urn:xmpp:chat-markers:0'
const MUC_USER_NS = 'http://jabber.org/protocol/muc#user'
export const RETRACT_NS = 'urn:xmpp:message-retract:1'

/** Payloads that mean something on their own: the child's name by its namespace. */
const MEANINGFUL: ReadonlyMap<string, string> = new Map([
  // Encrypted content: OMEMO (XEP-0384), OpenPGP (XEP-0373, XEP-0027), anything named by XEP-0380.
  ['eu.siacs.conversations.axolotl', 'encrypted'],
  ['urn:xmpp:omemo:1', 'encrypted'],
  ['urn:xmpp:omemo:2', 'encrypted'],
  ['urn:xmpp:openpgp:0', 'openpgp'],
  ['jabber:x:encrypted', 'x'],
  ['urn:xmpp:eme:0', 'encryption'],
  // What happened to another message: received (XEP-0184), corrected (XEP-0308), retracted
  // (XEP-0424; before, as a fastening of XEP-0422), reacted to (XEP-0444).
  ['urn:xmpp:receipts', 'received'],
  ['urn:xmpp:message-correct:0', 'replace'],
  [RETRACT_NS, 'retract'],
  ['urn:xmpp:fasten:0', 'apply-to'],
  ['urn:xmpp:reactions:0', 'reactions'],
  // Invitations to rooms (XEP-0249).
  ['jabber:x:conference', 'x'],
])

export type Eligibility = {
  /** Messages of rooms, too. */
  readonly groupchat: boolean
  /** Markers that say how far somebody has read (XEP-0333), too. */
  readonly markers: boolean
}

/**
 * Whether a message belongs into an archive, whoever's.
 *
 * XEP-0313 §6.1 asks for messages of type normal and chat with a body, and leaves the rest to the
 * server. We keep what another device of the account, or one that was away, would miss: encrypted
 * content, receipts, markers, corrections, retractions, reactions, invitations, and whatever the
 * sender asks to be kept. Chat states alone, errors and headlines are of the moment; messages of
 * rooms are in the room's archive. The sender's wish that a message be kept nowhere, or not for
 * good, counts above all (XEP-0334 §4.1, §4.2). A `<delay/>` that came with it changes nothing:
 * anybody can write one.
 */
export function isArchivable(stanza: Stanza, { groupchat, markers }: Eligibility): boolean {
  const { type } = stanza
  if (type === 'error' || type === 'headline') return false
  if (type === 'groupchat' && !groupchat) return false
  let isMeaningful = false
  const { children } = stanza
  for (let i = 0; i < children.length; i++) {
    const { name, ns } = children[i] as (typeof children)[number]
    if (ns === CLIENT_NS) {
      if (name === 'body') isMeaningful = true
    } else if (ns === HINTS_NS) {
      if (name === 'no-store' || name === 'no-permanent-store') return false
      if (name === 'store') isMeaningful = true
    } else if (ns === MARKERS_NS) {
      if (markers && name !== 'markable') isMeaningful = true
    } else if (ns === MUC_USER_NS) {
      if (stanza.childAt(i)?.child('invite') !== undefined) isMeaningful = true
    } else if (MEANINGFUL.get(ns) === name) {
      isMeaningful = true
    }
  }
  return isMeaningful
}
