// Asks for an archive, and hears of it, from Node: npm install @aws-sdk/client-sqs
//
//     node docs/examples/with_node.mjs input-queue output-queue

import {
  DeleteMessageCommand,
  GetQueueUrlCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";

const sqs = new SQSClient({});
const [inputUrl, outputUrl] = await Promise.all(
  process.argv.slice(2).map(async (name) => (await sqs.send(new GetQueueUrlCommand({ QueueName: name }))).QueueUrl),
);

const payload = { files: [{ source: "source.jpg" }], metadata: { order: 7 } };
const { MessageId: requestId } = await sqs.send(
  new SendMessageCommand({ QueueUrl: inputUrl, MessageBody: JSON.stringify(payload) }),
);
console.log(requestId);

let stopped = false;
process.on("SIGTERM", () => (stopped = true));
while (!stopped) {
  // One at a time: the next one's visibility timeout does not run while this one is handled.
  const { Messages = [] } = await sqs.send(
    new ReceiveMessageCommand({ QueueUrl: outputUrl, MaxNumberOfMessages: 1, WaitTimeSeconds: 20 }),
  );
  for (const message of Messages) {
    const notification = JSON.parse(message.Body);
    // Delivery is at least once: what was done for this request_id before is not to be done again.
    console.log(notification.request_id, notification.status, notification.archive?.key ?? notification.error?.code);
    // Only now: what threw before comes back, and goes to the queue's dead letters in the end.
    await sqs.send(new DeleteMessageCommand({ QueueUrl: outputUrl, ReceiptHandle: message.ReceiptHandle }));
  }
}
