import { DialbackKeys } from '../../src/s2s/dialback.ts'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { Client, NS, type OpenOptions } from './client.ts'

export const SERVER_NS = 'jabber:server'
export const DIALBACK_NS = 'jabber:server:dialback'

/** Another server of the test's own: the side that connects, and says what the test wants. */
export class TestPeer extends Client {
  /** The domain that it claims to be. */
  readonly claimed: string

  private constructor(domain: string, claimed: string) {
    super(domain)
    this.claimed = claimed
  }

  static async connect(options: OpenOptions, claimed: string): Promise<TestPeer> {
    return await new TestPeer(options.domain, claimed).connects(options)
  }

  override sendHeader(attributes: Readonly<Record<string, string | undefined>> = {}): void {
    const { claimed: from } = this
    super.sendHeader({ xmlns: SERVER_NS, 'xmlns:db': DIALBACK_NS, from, ...attributes })
  }

  /** Of the stream that the server answered with. */
  get streamId(): string {
    return this.header?.attributes.id ?? ''
  }

  sendKey(key: string, from = this.claimed, to = this.domain): void {
    this.send(`<db:result from='${from}' to='${to}'>${key}</db:result>`)
  }

  /** A key that is right for whoever knows the secret. */
  keyOf(secret: string): string {
    const { claimed: originating, domain: receiving, streamId } = this
    return new DialbackKeys(secret).keyFor({ originating, receiving, streamId })
  }

  /** By the certificate that it has shown, up to the features of the stream after it. */
  async authenticatesExternally(): Promise<void> {
    const answer = await this.sasl('EXTERNAL', this.claimed)
    if (answer.name !== 'success') throw new Error(`not accepted: ${answer}`)
    this.restart()
    await this.startStream()
  }

  /** A question to the server, whose answer goes back on its own way; its inbox stays as it is. */
  override async roundTrip(): Promise<void> {
    this.send(el('r', { xmlns: 'urn:xmpp:sm:3' }))
    await this.receives({ name: 'a' })
  }
}

export function mechanismsOf(features: Element | undefined): string[] {
  const offered = features?.child('mechanisms', NS.sasl)
  return (offered?.elements('mechanism') ?? []).map(({ text }) => text)
}
