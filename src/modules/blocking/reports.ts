import { Envelope, SERVER } from '../../core/envelope.ts'
import type { LocalRoutes } from '../../core/local-routes.ts'
import type { Logger } from '../../core/log.ts'
import type { RateLimit } from '../../core/rate-limit.ts'
import type { Router } from '../../core/router.ts'
import { type BareJid, type Jid, parseJid } from '../../xmpp/jid.ts'
import { Stanza } from '../../xmpp/stanza.ts'
import { type Element, el } from '../../xmpp/xml.ts'

export const REPORTING_NS = 'urn:xmpp:reporting:1'
const JID_NS = 'urn:xmpp:jid:0'

/** Characters of a reason. */
const MAX_REASON = 256
/** Characters of what the user says about it. */
const MAX_TEXT = 4096

/** Somebody blocks an address and says why. */
export type Report = {
  readonly reported: Jid
  readonly reason: string
  readonly text: string
  /** As it came. */
  readonly element: Element
}

type Parts = {
  readonly router: Router
  readonly routes: LocalRoutes
  readonly log: Logger
  /** Who gets reports; without anybody they are only logged. */
  readonly recipient: Jid | undefined
  readonly limit: RateLimit
}

/**
 * The report that comes with a block of `reported` (XEP-0377 §4 to §6). One that is none does not
 * keep the block from being made.
 */
export function readReport(item: Element, reported: Jid): Report | undefined {
  const element = item.child('report', REPORTING_NS)
  const reason = element?.attr('reason')
  if (element === undefined || reason === undefined || reason === '') return undefined
  if (reason.length > MAX_REASON) return undefined
  const text = (element.child('text')?.text.trim() ?? '').slice(0, MAX_TEXT).toWellFormed()
  return { reported, reason, text, element }
}

/** Hands reports of abuse to whoever looks after this server. */
export class Reports {
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.#parts = parts
  }

  /** More than an account may make are forgotten. */
  forward(reporter: BareJid, report: Report): void {
    const { limit, log, recipient } = this.#parts
    if (!limit.take(reporter.full)) return
    const { reported, reason } = report
    log.info('abuse_reported', { reporter: reporter.full, reported: reported.full, reason })
    if (recipient !== undefined) this.#send(recipient, reporter, report)
  }

  #send(recipient: Jid, reporter: BareJid, report: Report): void {
    const { router, routes } = this.#parts
    const isOurs = routes.find(recipient.domain) !== undefined
    // Somebody else gets only what the user lets them have, and not from whom (XEP-0377 §5).
    if (!isOurs && report.element.child('third-party') === undefined) return
    const server = parseJid(reporter.domain)
    const message = messageOf(report, isOurs ? reporter.full : `a user of ${reporter.domain}`)
    const outcome = router.route(new Envelope(server, recipient, message, SERVER))
    // Where it ends is on record; `route` does not reject.
    if (outcome instanceof Promise) void outcome
  }
}

function messageOf({ reported, reason, text, element }: Report, reporter: string): Stanza {
  const said = text === '' ? '' : `\n${text}`
  const body = el('body', {}, `${reported.full} was reported by ${reporter}: ${reason}${said}`)
  const jid = el('jid', { xmlns: JID_NS }, reported.full)
  const report = element.withChildren(jid, ...element.elements())
  return Stanza.build('message', { type: 'normal' }, body, report)
}
