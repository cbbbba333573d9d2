import { createHash } from 'node:crypto'
import { type Element, el } from '../../src/xmpp/xml.ts'
import { Client, type OpenOptions } from './client.ts'

export const COMPONENT_NS = 'jabber:component:accept'

/**
 * An external component of the test's own (XEP-0114). It writes and reads as a client does, but says
 * itself who sends.
 */
export class TestComponent extends Client {
  /** A hosted domain of its server. */
  server = ''
  /** The domain that it speaks for. */
  address = ''
  /** Of its stream. */
  id = ''

  static override async open(options: OpenOptions): Promise<TestComponent> {
    const component = new TestComponent(options.domain)
    component.address = options.domain
    return await component.connects(options)
  }

  protected override get sender(): string {
    return this.address
  }

  override sendHeader(attributes: Readonly<Record<string, string | undefined>> = {}): void {
    super.sendHeader({ xmlns: COMPONENT_NS, version: undefined, ...attributes })
  }

  /** There are no features. */
  override async startStream(
    attributes: Readonly<Record<string, string | undefined>> = {},
  ): Promise<Element> {
    this.sendHeader(attributes)
    const header = await this.receivesHeader()
    this.id = header.attributes.id ?? ''
    return el('features')
  }

  sendHandshake(secret: string): void {
    const proof = createHash('sha1').update(`${this.id}${secret}`).digest('hex')
    this.send(el('handshake', {}, proof))
  }

  async shakesHands(secret: string): Promise<void> {
    this.sendHandshake(secret)
    await this.receivesNext({ name: 'handshake', ns: COMPONENT_NS })
  }

  override async roundTrip(): Promise<void> {
    await this.ask('get', this.server, el('ping', { xmlns: 'urn:xmpp:ping' }))
  }
}
