/** Rosters in the terms of XEP-0227 §4.4 and §4.8: contacts, and requests that wait for an answer. */
import { type Taken, taken, type UserDataPart, type UserDataPortion } from '../../core/user-data.ts'
import { type BareJid, tryParseJid } from '../../xmpp/jid.ts'
import type { Octets } from '../../xmpp/octets.ts'
import { CLIENT_NS, Stanza } from '../../xmpp/stanza.ts'
import { type Element, el, serialise } from '../../xmpp/xml.ts'
import { isTrue } from '../../xmpp/xml-schema.ts'
import { ROSTER_NS, writeItem } from './item-xml.ts'
import type { Roster, RosterItem } from './roster.ts'
import type { Changed, Rosters } from './rosters.ts'
import { isAsked, SUBSCRIPTION_STATES, type SubscriptionState } from './subscription.ts'

/** Runs when readers begin to see a contact. */
type Tell = (changed: Changed, contact: BareJid) => void

export async function* rosterPart(load: () => Promise<Roster>): UserDataPart {
  const roster = await load()
  const items = roster.listed()
  if (items.length > 0) yield serialise(el('query', { xmlns: ROSTER_NS }, ...items.map(writeItem)))
  for (const { contact, request } of roster.lists.requests) {
    yield (request as Stanza).toWrapped(contact, undefined) as Octets
  }
}

/** `undefined`: it is neither contacts nor a request. Contacts that are there stay as they are. */
export async function takeRoster(
  rosters: Rosters,
  owner: BareJid,
  { part }: UserDataPortion,
  tell: Tell,
): Promise<Taken | undefined> {
  const isRequest =
    part.name === 'presence' && part.ns === CLIENT_NS && part.attr('type') === 'subscribe'
  const isRoster = part.name === 'query' && part.ns === ROSTER_NS
  if (!isRequest && !isRoster) return undefined
  let [added, there] = [0, 0]
  const problems: string[] = []
  for (const element of isRequest ? [part] : part.elements('item')) {
    const text = element.attr(isRequest ? 'from' : 'jid')
    const contact = tryParseJid(text)?.toBare()
    if (contact === undefined || contact.equals(owner)) {
      problems.push(`contact "${text ?? ''}": no address that can be one`)
      continue
    }
    const edit = isRequest ? withRequest(element) : withItem(element)
    const { isChanged } = await rosters.change(owner, contact, edit, (changed) =>
      tell(changed, contact),
    )
    if (isChanged) added++
    else there++
  }
  return taken({ added, there, problems })
}

function withItem(element: Element): (before: RosterItem) => RosterItem {
  return (before) => {
    if (before.isListed) return before
    const groups = element.elements('group').map(({ text }) => text)
    const state = stateOf(element, isAsked(before.state))
    return {
      ...before,
      name: element.attr('name') ?? '',
      groups: [...new Set(groups.filter((group) => group !== ''))],
      state,
      isApproved: isTrue(element.attr('approved')),
      isListed: true,
      request: isAsked(state) ? before.request : undefined,
    }
  }
}

function stateOf(element: Element, hasAsked: boolean): SubscriptionState {
  const subscription = element.attr('subscription') ?? 'none'
  const asking = element.attr('ask') === 'subscribe' ? '+out' : ''
  const asked = hasAsked ? '+in' : ''
  // What is granted needs no request any more.
  const wanted = [subscription + asking + asked, subscription + asking, subscription + asked]
  for (const text of [...wanted, subscription]) {
    const state = SUBSCRIPTION_STATES.find((known) => known === text)
    if (state !== undefined) return state
  }
  return 'none'
}

function withRequest(element: Element): (before: RosterItem) => RosterItem {
  return (before) => {
    const state = SUBSCRIPTION_STATES.find((known) => known === `${before.state}+in`)
    if (state === undefined) return before
    return { ...before, state, request: Stanza.fromElement(element) }
  }
}
