/* methods.h - the paths of the calls we make: /<package>.<Service>/<Method>.
 *
 * Request and response messages are in proto/<service>.proto. Content and Images need the header
 * containerd-namespace, or they end in FAILED_PRECONDITION. */
#pragma once

#define GRPC_CONTENT_INFO "/containerd.services.content.v1.Content/Info"
#define GRPC_CONTENT_LIST "/containerd.services.content.v1.Content/List" /* stream */
#define GRPC_CONTENT_READ "/containerd.services.content.v1.Content/Read" /* stream */
#define GRPC_CONTENT_STATUS "/containerd.services.content.v1.Content/Status"
#define GRPC_CONTENT_LIST_STATUSES "/containerd.services.content.v1.Content/ListStatuses"
#define GRPC_IMAGES_GET "/containerd.services.images.v1.Images/Get"
#define GRPC_IMAGES_LIST "/containerd.services.images.v1.Images/List"
#define GRPC_EVENTS_SUBSCRIBE "/containerd.services.events.v1.Events/Subscribe" /* stream */
#define GRPC_INTROSPECTION_PLUGINS "/containerd.services.introspection.v1.Introspection/Plugins"
#define GRPC_INTROSPECTION_SERVER "/containerd.services.introspection.v1.Introspection/Server"
#define GRPC_NAMESPACES_LIST "/containerd.services.namespaces.v1.Namespaces/List"
#define GRPC_VERSION "/containerd.services.version.v1.Version/Version"
#define GRPC_CRI_VERSION "/runtime.v1.RuntimeService/Version"
#define GRPC_CRI_STATUS "/runtime.v1.RuntimeService/Status"

#define GRPC_NAMESPACE_HEADER "containerd-namespace"
