import assert from 'node:assert/strict'
import { test } from 'node:test'
import { libraries, setStage } from './stage.ts'

for (const sender of libraries) {
  for (const recipient of libraries) {
    const names = `${sender.name} to ${recipient.name}`
    const skip = sender.skip || recipient.skip

    test(`${names}: a message arrives as it was written`, { skip }, async () => {
      await using stage = await setStage()
      await using romeo = await sender.connect(stage.romeo)
      await using juliet = await recipient.connect(stage.juliet)
      const body = `It is my lady, O, it is my love! <&> "'" \u{1f339}`

      const id = await romeo.sendChat(stage.juliet.jid, body)

      await juliet.receives({ kind: 'message', type: 'chat', id, body, from: romeo.jid })
      await romeo.receivesNo({ kind: 'message' })
    })

    test(`${names}: what comes while away is there on return`, { skip }, async () => {
      await using stage = await setStage()
      await using romeo = await sender.connect(stage.romeo)
      {
        await using juliet = await recipient.connect(stage.juliet)
        await juliet.close()
      }

      const [first, second] = ['first', 'second']
      await romeo.sendChat(stage.juliet.jid, first)
      await romeo.sendChat(stage.juliet.jid, second)
      await romeo.receivesNo({ kind: 'message' })

      {
        await using juliet = await recipient.connect(stage.juliet)
        const messages = [
          await juliet.receives({ kind: 'message', body: /./ }),
          await juliet.receives({ kind: 'message', body: /./ }),
        ]
        assert.deepEqual(
          messages.map(({ body }) => body),
          [first, second],
        )
        for (const { stamp } of messages) assert.match(stamp, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
        await juliet.close()
      }
      await using juliet = await recipient.connect(stage.juliet)
      await juliet.receivesNo({ kind: 'message' })
    })
  }
}
