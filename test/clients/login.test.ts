import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlixmppClient, withoutSlixmpp } from '../support/slixmpp.ts'
import { XmppJsClient } from '../support/xmpp-js.ts'
import { libraries, setStage } from './stage.ts'

for (const { name, skip, connect } of libraries) {
  test(`${name} gets the resource it asks for`, { skip }, async () => {
    await using stage = await setStage()
    const jid = `${stage.romeo.jid}/orchard`
    await using romeo = await connect({ ...stage.romeo, jid })
    assert.equal(romeo.jid, jid)
  })

  test(`${name} is refused with a wrong password`, { skip }, async () => {
    await using stage = await setStage()
    await assert.rejects(connect({ ...stage.romeo, password: 'wherefore' }), /not-authorized/)
  })
}

for (const mechanism of ['PLAIN', 'SCRAM-SHA-1-PLUS', 'SCRAM-SHA-256-PLUS'] as const) {
  test(`slixmpp logs in with ${mechanism} over TLS`, { skip: withoutSlixmpp }, async () => {
    await using stage = await setStage()
    await using romeo = await SlixmppClient.connect({ ...stage.romeo, mechanism })
    await romeo.ping()
    await romeo.close()
  })
}

for (const mechanism of ['PLAIN', 'SCRAM-SHA-1', 'SCRAM-SHA-256'] as const) {
  test(`slixmpp logs in with ${mechanism} without TLS`, { skip: withoutSlixmpp }, async () => {
    await using stage = await setStage()
    await using romeo = await SlixmppClient.connect({ ...stage.withoutTls(stage.romeo), mechanism })
    await romeo.ping()
    await romeo.close()
  })
}

test('slixmpp logs in over TLS from the first byte', { skip: withoutSlixmpp }, async () => {
  await using stage = await setStage()
  await using romeo = await SlixmppClient.connect(stage.overDirectTls(stage.romeo))
  await romeo.ping()
  await romeo.close()
})

test('slixmpp does not trust a stranger', { skip: withoutSlixmpp }, async () => {
  await using stage = await setStage()
  const { ca: _, ...trusting } = stage.romeo
  await assert.rejects(SlixmppClient.connect(trusting), /CERTIFICATE_VERIFY_FAILED/)
})

for (const mechanism of ['PLAIN', 'SCRAM-SHA-1'] as const) {
  test(`@xmpp/client logs in with ${mechanism}`, async () => {
    await using stage = await setStage()
    await using romeo = await XmppJsClient.connect({ ...stage.romeo, mechanism })
    await romeo.ping()
  })
}
