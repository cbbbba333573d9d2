import { Envelope } from '../../src/core/envelope.ts'
import { parseJid } from '../../src/xmpp/jid.ts'
import { Stanza } from '../../src/xmpp/stanza.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import type { Core } from './core.ts'
import type { RecordingSession } from './recording-session.ts'

/** A presence as clients write it: type, status, priority. */
export function presence(
  type?: string,
  { status, priority }: { readonly status?: string; readonly priority?: number | string } = {},
): Stanza {
  const children: Element[] = []
  if (status !== undefined) children.push(el('status', { xmlns: 'jabber:client' }, status))
  if (priority !== undefined) {
    children.push(el('priority', { xmlns: 'jabber:client' }, String(priority)))
  }
  return Stanza.build('presence', { type }, ...children)
}

/** The client sends a presence. Rejects with what refuses it. */
export async function sendPresence(
  core: Core,
  session: RecordingSession,
  stanza: Stanza = presence(),
  to: string = session.jid.bare,
): Promise<void> {
  const envelope = new Envelope(session.jid, parseJid(to), stanza, { kind: 'c2s', session })
  await core.hooks.at('user_send_presence', session.domainType).run(envelope, { session })
}

/** What a session received since the last call, one line each: `from type status`. */
export function presencesOf(session: RecordingSession): string[] {
  const taken = session.received.splice(0)
  return taken
    .filter(({ stanza }) => stanza.kind === 'presence')
    .map(({ from, stanza }) => line(from.full, stanza))
}

/** What left for other servers since the last call, one line each: `from to type status`. */
export function presencesAway(core: Core): string[] {
  return core.sentAway
    .splice(0)
    .filter(({ stanza }) => stanza.kind === 'presence')
    .map(({ from, to, stanza }) => line(`${from.full} ${to.full}`, stanza))
}

function line(addresses: string, stanza: Stanza): string {
  const status = stanza.child('status')?.text
  const words = [addresses, stanza.type ?? 'available', status]
  return words.filter((word) => word !== undefined).join(' ')
}
