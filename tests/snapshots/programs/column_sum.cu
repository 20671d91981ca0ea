extern "C" __global__ void __launch_bounds__(256)
sum_70x513_pieces(const float* __restrict__ a0, float* __restrict__ s0_partial) {
    const int group_0 = (int)blockIdx.x;
    const int local_0 = (int)threadIdx.x;
    __shared__ __align__(16) float s0_shared[512];
    float s0_0 = 0.0f;
    float s0_1 = 0.0f;
    #pragma unroll
    for (int j0_runu = 0; j0_runu < 8; j0_runu++) {
        const int i0_ = ((((group_0 / 5) * 17920) + (j0_runu * 2240)) + ((local_0 >> 3) * 70)) + (min(((group_0 % 5) * 8) + (local_0 & 7), 34) * 2);
        const float t0_ = a0[i0_];
        const float s0_0_new1 = s0_0 + (t0_ * t0_);
        const float t1_ = a0[i0_ + 1];
        const float s0_1_new1 = s0_1 + (t1_ * t1_);
        s0_0 = s0_0_new1;
        s0_1 = s0_1_new1;
    }
    const int i1_ = local_0 * 2;
    *(float2*)(s0_shared + i1_) = make_float2(s0_0, s0_1);
    __syncthreads();
    const int i2_ = local_0 >> 3;
    if (i2_ < 16) {
        const float2 v0_ = *(const float2*)(s0_shared + (i1_ + 256));
        const float s0_shared_w2_0 = v0_.x, s0_shared_w2_1 = v0_.y;
        const float s0_0_new3 = s0_0 + s0_shared_w2_0;
        const float s0_1_new3 = s0_1 + s0_shared_w2_1;
        s0_0 = s0_0_new3;
        s0_1 = s0_1_new3;
        *(float2*)(s0_shared + i1_) = make_float2(s0_0, s0_1);
    }
    __syncthreads();
    if (i2_ < 8) {
        const float2 v1_ = *(const float2*)(s0_shared + (i1_ + 128));
        const float s0_shared_w4_0 = v1_.x, s0_shared_w4_1 = v1_.y;
        const float s0_0_new5 = s0_0 + s0_shared_w4_0;
        const float s0_1_new5 = s0_1 + s0_shared_w4_1;
        s0_0 = s0_0_new5;
        s0_1 = s0_1_new5;
        *(float2*)(s0_shared + i1_) = make_float2(s0_0, s0_1);
    }
    __syncthreads();
    if (i2_ < 4) {
        const float2 v2_ = *(const float2*)(s0_shared + (i1_ + 64));
        const float s0_shared_w6_0 = v2_.x, s0_shared_w6_1 = v2_.y;
        const float s0_0_new7 = s0_0 + s0_shared_w6_0;
        const float s0_1_new7 = s0_1 + s0_shared_w6_1;
        s0_0 = s0_0_new7;
        s0_1 = s0_1_new7;
        *(float2*)(s0_shared + i1_) = make_float2(s0_0, s0_1);
    }
    __syncthreads();
    if (i2_ < 2) {
        const float2 v3_ = *(const float2*)(s0_shared + (i1_ + 32));
        const float s0_shared_w8_0 = v3_.x, s0_shared_w8_1 = v3_.y;
        const float s0_0_new9 = s0_0 + s0_shared_w8_0;
        const float s0_1_new9 = s0_1 + s0_shared_w8_1;
        s0_0 = s0_0_new9;
        s0_1 = s0_1_new9;
        *(float2*)(s0_shared + i1_) = make_float2(s0_0, s0_1);
    }
    __syncthreads();
    if (i2_ < 1) {
        const float2 v4_ = *(const float2*)(s0_shared + (i1_ + 16));
        const float s0_shared_w10_0 = v4_.x, s0_shared_w10_1 = v4_.y;
        const float s0_0_new11 = s0_0 + s0_shared_w10_0;
        const float s0_1_new11 = s0_1 + s0_shared_w10_1;
        s0_0 = s0_0_new11;
        s0_1 = s0_1_new11;
        *(float2*)(s0_shared + i1_) = make_float2(s0_0, s0_1);
    }
    __syncthreads();
    const int i3_ = local_0 & 7;
    const float2 v5_ = *(const float2*)(s0_shared + (i3_ * 2));
    const float s0_shared_w12_0 = v5_.x, s0_shared_w12_1 = v5_.y;
    const float s0_0_new13 = s0_shared_w12_0;
    const float s0_1_new13 = s0_shared_w12_1;
    s0_0 = s0_0_new13;
    s0_1 = s0_1_new13;
    if (i2_ == 0) {
        const int i4_ = ((group_0 % 5) * 8) + i3_;
        if (i4_ < 35) *(float2*)(s0_partial + (((group_0 / 5) * 70) + (min(i4_, 34) * 2))) = make_float2(s0_0, s0_1);
    }
}

extern "C" __global__ void __launch_bounds__(70)
sum_70x513_1(const float* __restrict__ a0, float* __restrict__ a1, const float* __restrict__ s0_partial) {
    const int local_0 = (int)threadIdx.x;
    float s0 = 0.0f;
    for (int piece = 0; piece < 2; piece++) {
        s0 = s0 + s0_partial[(piece * 70) + local_0];
    }
    float s0_rest = 0.0f;
    const float t0_ = a0[local_0 + 35840];
    s0_rest = s0_rest + (t0_ * t0_);
    a1[local_0] = s0 + s0_rest;
}
