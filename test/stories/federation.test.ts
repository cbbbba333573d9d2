import { test } from 'node:test'
import { Internet } from '../support/federation.ts'
import { chat } from '../support/stanzas.ts'

test('a message goes to another server, and the answer comes back', async () => {
  await using internet = await Internet.start()
  const capulet = await internet.server('capulet.example')
  const montague = await internet.server('montague.example')
  const juliet = await capulet.connect('juliet', 'balcony')
  const romeo = await montague.connect('romeo', 'orchard')

  await juliet.sends(chat(romeo.bareJid, 'Wherefore art thou Romeo?'))
  await romeo.receives({ from: juliet.fullJid, body: 'Wherefore art thou Romeo?' })

  await romeo.sends(chat(juliet.fullJid, 'Shall I hear more?'))
  await juliet.receives({ from: romeo.fullJid, body: 'Shall I hear more?' })
})
