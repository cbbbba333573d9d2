import type { HookName, HookPoint, Hooks } from '../core/hooks.ts'
import type { StanzaKind } from '../xmpp/stanza.ts'

type Kinds<Prefix extends string> = {
  readonly [K in StanzaKind]: HookPoint<HookName & `${Prefix}_${K}`>
}

/** The hooks that sessions of one domain type run, looked up once for all of them. */
export class SessionPoints {
  readonly sendPacket: HookPoint<'user_send_packet'>
  readonly send: Kinds<'user_send'>
  readonly sendXmlel: HookPoint<'user_send_xmlel'>
  readonly receivePacket: HookPoint<'user_receive_packet'>
  readonly receive: Kinds<'user_receive'>
  readonly presend: HookPoint<'xmpp_presend_element'>
  readonly acknowledged: HookPoint<'stanza_acknowledged'>
  readonly socketClosed: HookPoint<'user_socket_closed'>
  readonly socketError: HookPoint<'user_socket_error'>
  readonly stopRequest: HookPoint<'user_stop_request'>
  readonly terminate: HookPoint<'user_terminate'>
  readonly reroute: HookPoint<'reroute_unacked_messages'>
  readonly filterUnacknowledged: HookPoint<'filter_unacknowledged_messages'>
  readonly domainType: string

  constructor(hooks: Hooks, domainType: string) {
    const at = <N extends HookName>(name: N) => hooks.at(name, domainType)
    this.domainType = domainType
    this.sendPacket = at('user_send_packet')
    this.send = {
      message: at('user_send_message'),
      presence: at('user_send_presence'),
      iq: at('user_send_iq'),
    }
    this.sendXmlel = at('user_send_xmlel')
    this.receivePacket = at('user_receive_packet')
    this.receive = {
      message: at('user_receive_message'),
      presence: at('user_receive_presence'),
      iq: at('user_receive_iq'),
    }
    this.presend = at('xmpp_presend_element')
    this.acknowledged = at('stanza_acknowledged')
    this.socketClosed = at('user_socket_closed')
    this.socketError = at('user_socket_error')
    this.stopRequest = at('user_stop_request')
    this.terminate = at('user_terminate')
    this.reroute = at('reroute_unacked_messages')
    this.filterUnacknowledged = at('filter_unacknowledged_messages')
  }
}
