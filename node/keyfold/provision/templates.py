"""The texts of a partition's units and HAProxy backend; `plan` fills them in."""

from __future__ import annotations

# What is over the limit is refused at once: waiting connections would count against all partitions' common maximum.
BACKEND = """\
backend p_{name}
    mode tcp
    tcp-request content reject if {{ be_conn gt {max_connections} }}
    server s unix@/run/keyfold/partitions/{name}.sock
"""

SOCKET = """\
# Written by keyfold-provision.service
[Unit]
Description=Keyfold partition {name}: subscriber connections

[Socket]
ListenStream=/run/keyfold/partitions/{name}.sock
SocketUser=root
SocketGroup={group}
SocketMode=0660
DirectoryMode=0755
Accept=yes
MaxConnections={max_connections}
# A crowd at one partition's door must not close it: systemd would, after 200 connections in 2 s.
TriggerLimitIntervalSec=0

[Install]
WantedBy=sockets.target
"""

SLICE = """\
# Written by keyfold-provision.service
[Unit]
Description=Keyfold partition {name}: all its connections together

[Slice]
CPUWeight={cpu_weight}
MemoryMax={memory_max_bytes}
MemorySwapMax=0
TasksMax={tasks_max}
"""

# softhsm2.conf, with the mechanisms that the package allows, is not the connection's to replace: only the
# tokens are its own.
# One connection is one process and stays one: it cannot fork. It has no LimitCPU: a connection lives for months.
SERVICE = """\
# Written by keyfold-provision.service
[Unit]
Description=Keyfold partition {name}: one subscriber connection
CollectMode=inactive-or-failed

[Service]
ExecStart=/usr/bin/p11-kit remote --provider {module} pkcs11:token={name}
StandardInput=socket
StandardOutput=socket
StandardError=journal
User={user}
Environment=SOFTHSM2_CONF={home}/softhsm2.conf
Slice={slice}
Nice={nice}
OOMScoreAdjust=500
LimitNOFILE={open_files}
LimitDATA={memory_bytes}
LimitCORE=0
LimitRTPRIO=0
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths={home}/tokens
InaccessiblePaths=-/etc/keyfold -/run/haproxy-master.sock
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
PrivateTmp=yes
PrivateDevices=yes
PrivateMounts=yes
PrivateNetwork=yes
PrivateIPC=yes
RemoveIPC=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @setuid @keyring fork vfork clone clone3
SystemCallErrorNumber=EPERM
IPAddressDeny=any
"""
