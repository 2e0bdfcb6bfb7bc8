"""What is used of kombu, Celery, vine, billiard and botocore that they promise nobody: private names, overridden
methods, attributes and constants. test_upstream.py compares it with what is installed.

A path is ``module:name.name``; ``module:Class().name`` is an attribute of an instance. Beside it stands what was found
there: a signature without annotations, a constant, or else the kind of thing.

When a release changes one of them, read what changed there and in what builds on it, then write down the new one.
"""

#: The releases that were read.
READ = {
    "celery": "5.7.0",
    "kombu": "5.7.0",
    "vine": "5.1.0",
    "billiard": "4.3.2",
    "botocore": "1.44.5",
    "flower": "2.2.0",
}

NAMES = {
    # archiver/celery.py: the app.
    "celery.app.base:Celery._load_config": "(self)",
    "celery:Celery().steps": "defaultdict",
    "celery.app.task:Task.Request": "'celery.worker.request:Request'",
    "celery.apps.worker:Worker.on_before_init": "(self, quiet=False, **kwargs)",
    # archiver/worker/predefined.py.
    "kombu.transport.SQS:Channel.__init__": "(self, *args, **kwargs)",
    "kombu.transport.SQS:Channel._update_queue_cache": "(self, queue_name_prefix)",
    "kombu.transport.SQS:Channel._resolve_queue_url": "(self, queue)",
    "kombu.transport.SQS:Channel.sqs": "(self, queue=None)",
    "kombu.transport.SQS:Channel.asynsqs": "(self, queue=None)",
    "kombu.transport.SQS:Channel.get_message_attributes": "property",
    "kombu.transport.SQS:Channel.predefined_queues": "cached_property",
    "kombu.transport.SQS:Channel.transport_options": "property",
    "kombu.transport.SQS:Channel.conninfo": "property",
    "kombu.transport.SQS:Channel()._queue_cache": "dict of input-queue",
    "kombu.transport.SQS:Channel()._predefined_queue_async_clients": "dict",
    "kombu.transport.SQS:Channel().connection": "Transport",
    "kombu.transport.virtual.base:Channel.queue_declare": "(self, queue=None, passive=False, **kwargs)",
    "kombu.transport.virtual.base:queue_declare_ok_t": "class amqp.protocol.queue_declare_ok_t",
    # archiver/worker/channel.py.
    "kombu.transport.SQS:Channel.basic_consume": "(self, queue, no_ack, callback, consumer_tag, *args, **kwargs)",
    "kombu.transport.SQS:Channel.basic_cancel": "(self, consumer_tag)",
    "kombu.transport.SQS:Channel._schedule_queue": "(self, queue)",
    "kombu.transport.SQS:Channel._get_message_estimate": "(self, max_if_unlimited=10)",
    "kombu.transport.SQS:Channel._message_to_python": "(self, message, queue_name, q_url)",
    "kombu.transport.SQS:Channel.visibility_timeout": "cached_property",
    "kombu.transport.SQS:Channel.wait_time_seconds": "cached_property",
    "kombu.transport.SQS:Channel()._active_queues": "list",
    "kombu.transport.SQS:Channel()._tag_to_queue": "dict",
    "kombu.transport.SQS:Channel().closed": "False",
    "kombu.transport.SQS:Transport().client.transport_options": "dict of predefined_queues",
    "kombu.transport.SQS:Channel().qos": "QoS",
    "kombu.transport.virtual.base:QoS.can_consume": "(self)",
    "kombu.transport.virtual.base:QoS.can_consume_max_estimate": "(self)",
    "kombu.transport.virtual.base:QoS.prefetch_count": "0",
    "kombu.transport.virtual.base:Channel.do_restore": "True",
    "kombu.transport.SQS:Channel.basic_ack": "(self, delivery_tag, multiple=False)",
    "kombu.transport.SQS:Channel.basic_reject": "(self, delivery_tag, requeue=False)",
    "kombu.transport.virtual.base:Channel.basic_ack": "(self, delivery_tag, multiple=False)",
    "kombu.transport.SQS:Transport()._callbacks": "dict",
    "kombu.asynchronous.hub:Hub.call_soon": "(self, callback, *args)",
    # archiver/worker/poller.py.
    "kombu.transport.SQS:Channel().hub": "None",
    "kombu.asynchronous.hub:Hub.call_later": "(self, delay, callback, *args)",
    "kombu.asynchronous.hub:Hub.call_repeatedly": "(self, delay, callback, *args)",
    # archiver/worker/transport.py.
    "kombu.transport.SQS:Transport.Channel": "class kombu.transport.SQS.Channel",
    "kombu.transport.SQS:Transport.connection_errors": (
        "(<class 'amqp.exceptions.ConnectionError'>, <class 'botocore.exceptions.BotoCoreError'>, <class 'OSError'>)"
    ),
    "kombu.transport.SQS:Transport.__init__": "(self, client, **kwargs)",
    "kombu.transport.base:Transport.can_parse_url": "False",
    "kombu.transport.base:Transport.as_uri": "(self, uri, include_password=False, mask='**')",
    "kombu.transport.base:Transport.register_with_event_loop": "(self, connection, loop)",
    "kombu.transport.SQS:Transport().channels": "list",
    "kombu.asynchronous:set_event_loop": "(loop)",
    # archiver/worker/polling.py.
    "kombu.asynchronous.aws.sqs.connection:AsyncSQSConnection.__init__": (
        "(self, sqs_connection, debug=0, region=None, message_system_attribute_names=None, "
        "message_attribute_names=None, **kwargs)"
    ),
    "kombu.asynchronous.aws.sqs.connection:AsyncSQSConnection.receive_message": (
        "(self, queue, queue_url, number_messages=1, visibility_timeout=None, attributes=None, "
        "wait_time_seconds=None, callback=None)"
    ),
    "kombu.asynchronous.aws.connection:AsyncConnection.get_http_connection": "(self)",
    "kombu.asynchronous.aws.connection:AsyncAWSQueryConnection._on_list_ready": (
        "(self, parent, markers, operation, response)"
    ),
    "kombu.asynchronous.aws.sqs.connection:AsyncSQSConnection()._httpclient": "object",
    "kombu.asynchronous.aws.sqs.connection:AsyncSQSConnection().sqs_connection": "SQS",
    "botocore.client:SQS()._endpoint.http_session._verify": "False",
    "kombu.asynchronous.aws.connection:AsyncHTTPSConnection.__init__": (
        "(self, strict=None, timeout=20.0, http_client=None)"
    ),
    "kombu.asynchronous.aws.connection:AsyncHTTPSConnection.getrequest": "(self)",
    "kombu.asynchronous.aws.connection:AsyncHTTPSConnection().timeout": "20.0",
    "kombu.asynchronous.http.base:Request.ca_certs": "None",
    "kombu.asynchronous.http.base:Request.follow_redirects": "True",
    "kombu.asynchronous.http.base:Request.on_prepare": "member_descriptor",
    "kombu.asynchronous.aws.connection:AsyncHTTPResponse.read": "(self, *args, **kwargs)",
    "kombu.asynchronous.aws.connection:AsyncHTTPResponse.status": "property",
    "kombu.asynchronous.aws.connection:AsyncHTTPResponse.reason": "property",
    "vine.promises:promise.__init__": (
        "(self, fun=None, args=None, kwargs=None, callback=None, on_error=None, weak=False, ignore_result=False)"
    ),
    # archiver/worker/drain.py.
    "celery.bootsteps:Step.__init__": "(self, parent, **kwargs)",
    "celery.bootsteps:Step.requires": "()",
    "celery.bootsteps:StartStopStep.start": "(self, parent)",
    "celery.bootsteps:StartStopStep.stop": "(self, parent)",
    "celery.bootsteps:StartStopStep.terminate": "(self, parent)",
    "celery.bootsteps:Step.include_if": "(self, parent)",
    "celery.worker.components:Pool": "class celery.worker.components.celery.worker.components.Pool",
    "celery.worker.worker:WorkController.register_with_event_loop": "(self, hub)",
    "celery.worker.state:should_stop": "None",
    "celery.worker.state:should_terminate": "None",
    "celery.worker.state:maybe_shutdown": "()",
    "celery.worker.state:active_requests": "WeakSet",
    "celery.worker.state:reserved_requests": "WeakSet",
    "celery.worker.request:Request.cancel": "(self, pool, signal=None, emit_retry=True)",
    "billiard.pool:Pool.terminate_job": "(self, pid, sig=None)",
    # archiver/worker/request.py.
    "celery.worker.request:Request.on_failure": "(self, exc_info, send_failed_event=True, return_ok=False)",
    "celery.worker.request:Request.on_timeout": "(self, soft, timeout)",
    "celery.worker.request:Request.revoked": "(self)",
    "celery.worker.request:Request.terminate": "(self, pool, signal=None)",
    "celery.worker.request:Request._already_cancelled": "False",
    "celery.worker.request:Request.parent_id": "property",
    "celery.worker.request:Request._announce_revoked": "(self, reason, terminated, signum, expired)",
    "celery.worker.request:Request.send_event": "(self, type, **fields)",
    "celery.worker.request:Request.info": "(self, safe=False)",
    "celery.worker.request:Request.acknowledged": "False",
    "celery.worker.request:Request.message": "property",
    "celery.worker.request:Request.type": "property",
    "billiard.einfo:ExceptionWithTraceback": "class billiard.einfo.ExceptionWithTraceback",
    # archiver/flower.py: what its page of queues is made of, and what it has a task's fields shown by.
    "flower.views:Broker": "class flower.utils.broker.Broker",
    "flower.views:BaseHandler.get_broker": "(self)",
    "flower.views.broker:BrokerView.get": "(self)",
    "flower.views.tasks:TasksDataTable.format_task": "(self, task)",
    # archiver/monitoring/channel.py.
    "kombu.transport.SQS:Channel.supports_fanout": "cached_property",
    "kombu.transport.SQS:Channel._get_bulk": "(self, queue, max_if_unlimited=10, callback=None)",
    "kombu.transport.SQS:Channel._put": "(self, queue, message, **kwargs)",
    "kombu.transport.SQS:Channel._put_fanout": "(self, exchange, message, routing_key, **kwargs)",
    "kombu.transport.SQS:Transport.implements": "dict of asynchronous, batch_publish, exchange_type, heartbeats",
    "kombu.transport.virtual.base:Channel._lookup": "(self, exchange, routing_key, default=None)",
    "kombu.transport.virtual.base:Channel.exchange_declare": (
        "(self, exchange=None, type='direct', durable=False, auto_delete=False, arguments=None, "
        "nowait=False, passive=False)"
    ),
    "kombu.transport.virtual.base:Channel.queue_bind": (
        "(self, queue, exchange=None, routing_key='', arguments=None, **kwargs)"
    ),
    "kombu.transport.virtual.base:Channel.queue_delete": "(self, queue, if_unused=False, if_empty=False, **kwargs)",
    "kombu.transport.virtual.base:Channel.basic_consume": "(self, queue, no_ack, callback, consumer_tag, **kwargs)",
    "kombu.transport.virtual.base:Channel.basic_cancel": "(self, consumer_tag)",
    "kombu.transport.virtual.base:Channel.body_encoding": "'base64'",
    "kombu.transport.virtual.base:Transport._deliver": "(self, message, queue)",
    # archiver/monitoring: names of exchanges, remote control, heartbeats.
    "celery:Celery().conf.event_exchange": "'celeryev'",
    "celery:Celery().conf.control_exchange": "'celery'",
    "kombu.pidbox:Mailbox.exchange_fmt": "'%s.pidbox'",
    "kombu.pidbox:Mailbox.reply_exchange_fmt": "'reply.%s.pidbox'",
    "kombu.pidbox:Mailbox.oid": "property",
    "celery.app.control:Control.Mailbox": "class kombu.pidbox.Mailbox",
    "celery.app.control:Control.broadcast": (
        "(self, command, arguments=None, destination=None, connection=None, reply=False, timeout=1.0, "
        "limit=None, callback=None, channel=None, pattern=None, matcher=None, **extra_kwargs)"
    ),
    "celery.worker.control:control_command": "(**kwargs)",
    "celery.worker.control:shutdown": "(state, msg='Got shutdown from remote', **kwargs)",
    "celery.worker.control:heartbeat": "(state)",
    "celery.worker.state:SOFTWARE_INFO": "dict of sw_ident, sw_sys, sw_ver",
    "celery.worker.consumer.heart:Heart.__init__": (
        "(self, c, without_heartbeat=False, heartbeat_interval=None, **kwargs)"
    ),
    "celery.events.state:HEARTBEAT_EXPIRE_WINDOW": "200",
}
